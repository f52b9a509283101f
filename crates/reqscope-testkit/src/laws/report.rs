use std::fmt;

/// A law of reqscope that the suite can look at. They are told in full in the project's `ARCHITECTURE.md`.
///
/// The suite leaves out what only a pool can break, or nobody can see from outside: L13 (the slot follows the
/// work), L17 (fair), L18 (a dead backend is cheap), L19 (no foreign code under a lock).
///
/// ```
/// use reqscope_testkit::Law;
///
/// assert_eq!(Law::L9.to_string(), "L9");
/// assert!(Law::L1 < Law::L2); // in the order in which they are told
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Law {
    /// Exactly once: every handle goes to one release, or is dropped once and counted.
    L1,
    /// Lazy: what is not asked for is not acquired.
    L2,
    /// Cancel-safe acquire: a dropped one leaves nothing behind.
    L3,
    /// One per scope: concurrent first uses make one acquisition.
    L4,
    /// The scope owns the acquisition: a first caller who is gone or asleep stalls nobody.
    L5,
    /// Nobody acquires for the dead: what arrives late is released, and nobody sees it.
    L6,
    /// Failure is not remembered.
    L7,
    /// No use after release, no release under a holder.
    L8,
    /// The exit is told, once, and failure is sticky.
    L9,
    /// Close seals, fixes the verdict, releases in order; one failure stops none of the others.
    L10,
    /// No success without a commit: close waits for what settles.
    L11,
    /// Bounded: everything ends by its deadline.
    L12,
    /// Never reuse in doubt.
    L14,
    /// Quiet drop: it does not block, does not panic, and needs no runtime.
    L15,
    /// Drain: shutdown can wait for what is open and what is pending.
    L16,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A law that was broken, and how.
///
/// ```
/// use reqscope_testkit::{Law, Report};
///
/// /// Breaches of the laws that a resource does not promise to keep are let pass.
/// fn is_good_enough(report: &Report) -> bool {
///     report.breaches().iter().all(|breach| {
///         eprintln!("{}: {}: {}", breach.law, breach.case, breach.seen);
///         breach.law == Law::L16
///     })
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breach {
    /// Which one.
    pub law: Law,
    /// What was done.
    pub case: String,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Breach { law, case, seen } = self;
        write!(f, "{law}: {case}: {seen}")
    }
}

/// What one case of the suite answers.
pub(super) type Verdict = Result<(), Breach>;

/// What [`judge`](crate::judge) saw: which laws a resource breaks, if any.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let report = reqscope_testkit::judge(|probe| probe).await;
/// assert!(report.is_clean(), "{report}");
/// assert!(report.breaches().is_empty());
/// println!("{} cases", report.cases());
/// # });
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a report that nobody reads condemns nobody"]
pub struct Report {
    cases: usize,
    breaches: Vec<Breach>,
}

impl Report {
    pub(super) fn add(&mut self, verdict: Verdict) {
        self.cases += 1;
        self.breaches.extend(verdict.err());
    }

    /// How many cases were run.
    pub fn cases(&self) -> usize {
        self.cases
    }

    /// The first breach of each case, in the order of the cases.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// Whether no law was broken.
    pub fn is_clean(&self) -> bool {
        self.breaches.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} cases broke a law", self.breaches.len(), self.cases)?;
        self.breaches.iter().try_for_each(|breach| write!(f, "\n  {breach}"))
    }
}
