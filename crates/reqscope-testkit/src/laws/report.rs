use std::fmt;

/// A law of reqscope that the suite checks. The project's `ARCHITECTURE.md` has them in full.
///
/// The suite leaves out what only a pool can break, and what cannot be seen from outside: L13 (the slot follows the
/// work), L17 (fair), L18 (a dead backend is cheap), L19 (no user code under a lock).
///
/// ```
/// use reqscope_testkit::Law;
///
/// assert_eq!(Law::L9.to_string(), "L9");
/// assert!(Law::L1 < Law::L2); // in the order of their numbers
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Law {
    /// Exactly once: each handle is released once, or dropped once and counted.
    L1,
    /// Lazy: a resource is acquired on first use.
    L2,
    /// Cancel-safe acquire: a dropped `acquire` future leaves nothing behind.
    L3,
    /// One at a time per scope: concurrent first uses make one acquisition.
    L4,
    /// The scope owns the acquisition: a first caller that is dropped, or not polled, stalls no other.
    L5,
    /// No acquisition for a closed scope: a handle that arrives late is released and never used.
    L6,
    /// Failures are not cached.
    L7,
    /// No use after release, and no release while the handle is lent.
    L8,
    /// The exit is passed on, once, and a failure is sticky.
    L9,
    /// Close has three phases: seal, fix the verdict, release in order. One failure stops no other release.
    L10,
    /// No success response before the commit: close waits for the settling releases.
    L11,
    /// Bounded: every call ends by its deadline.
    L12,
    /// Never reuse in doubt.
    L14,
    /// Quiet drop: it does not block, does not panic, and needs no runtime.
    L15,
    /// Drain: a shutdown can wait for open scopes and pending releases.
    L16,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A broken law, and how it was broken.
///
/// ```
/// use reqscope_testkit::{Law, Report};
///
/// /// Tolerates the breaches of a law that the resource does not promise to keep.
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
    /// The law.
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

/// The result of one case of the suite.
pub(super) type Verdict = Result<(), Breach>;

/// What [`judge`](crate::judge) found: the laws that a resource breaks, if any.
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
#[must_use = "a report has to be read: it does not fail the test by itself"]
pub struct Report {
    cases: usize,
    breaches: Vec<Breach>,
}

impl Report {
    pub(super) fn add(&mut self, verdict: Verdict) {
        self.cases += 1;
        self.breaches.extend(verdict.err());
    }

    /// Returns how many cases were run.
    pub fn cases(&self) -> usize {
        self.cases
    }

    /// Returns the first breach of each case, in the order of the cases.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// Returns whether no law was broken.
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
