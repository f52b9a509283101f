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
/// The [`Display`](fmt::Display) of a breach has all of it: the law, what was done, what was seen, in which other cases
/// the same was seen, and what to do.
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
    /// The other cases in which the same was seen.
    pub also: Vec<String>,
    /// What to do about it, if the suite knows that.
    pub advice: Option<&'static str>,
    reach: Reach,
}

/// What a breach says about the cases that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The same sight in a case of the same law has the same cause.
    Law,
    /// The same sight in any case has the same cause.
    AnyLaw,
    /// All other cases would see the same, or hang: the run ends.
    Run,
}

impl Breach {
    pub(super) fn new(law: Law, case: impl Into<String>, seen: impl Into<String>) -> Self {
        let (case, seen) = (case.into(), seen.into());
        Breach { law, case, seen, also: Vec::new(), advice: None, reach: Reach::Law }
    }

    /// Adds advice. A caller that knows more replaces it.
    pub(super) fn advise(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    pub(super) fn of_any_law(mut self) -> Self {
        self.reach = Reach::AnyLaw;
        self
    }

    pub(super) fn ending_the_run(mut self) -> Self {
        self.reach = Reach::Run;
        self
    }

    /// Returns whether both have the same cause: the same was seen, up to its numbers.
    fn has_the_cause_of(&self, other: &Breach) -> bool {
        let may_be = self.law == other.law || self.reach == Reach::AnyLaw && other.reach == Reach::AnyLaw;
        may_be && without_numbers(&self.seen).eq(without_numbers(&other.seen))
    }

    fn matches(&self, known: &Known) -> bool {
        self.law == known.law && self.to_string().contains(&known.seen)
    }
}

fn without_numbers(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter(|char| !char.is_ascii_digit())
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Breach { law, case, seen, also, advice, .. } = self;
        write!(f, "{law}: {case}: {seen}")?;
        if !also.is_empty() {
            write!(f, "\n    also seen in {} other cases: {}", also.len(), also.join("; "))?;
        }
        match advice {
            Some(advice) => write!(f, "\n    what to do: {advice}"),
            None => Ok(()),
        }
    }
}

/// The result of one case of the suite.
pub(super) type Verdict = Result<(), Breach>;

/// What a case needs to see what its law is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// The probe inside of the resource, or a census of the server.
    Sight,
    /// The probe inside of the resource.
    Probe,
    /// A census of the server.
    Census,
    /// An operation on a handle.
    Use,
}

/// With what the suite can see.
#[derive(Clone, Copy)]
pub(super) struct Eyes {
    pub(super) probe: bool,
    pub(super) census: bool,
    pub(super) operation: bool,
}

impl Eyes {
    pub(super) fn see(self, needs: Needs) -> bool {
        match needs {
            Needs::Sight => self.probe || self.census,
            Needs::Probe => self.probe,
            Needs::Census => self.census,
            Needs::Use => self.operation,
        }
    }
}

/// A breach that is expected until it is mended.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) law: Law,
    pub(super) seen: String,
    pub(super) why: String,
}

/// What a run of the suite found: the laws that a resource breaks, if any.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let report = reqscope_testkit::laws(|probe| probe).judge().await;
/// assert!(report.is_clean(), "{report}");
/// assert!(report.breaches().is_empty());
/// println!("{} of {} cases could see inside", report.seeing_cases(), report.cases());
/// # });
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a report has to be read: it does not fail the test by itself"]
pub struct Report {
    cases: usize,
    seeing: usize,
    not_run: usize,
    breaches: Vec<Breach>,
    known: Vec<Known>,
    mended: Vec<Known>,
}

impl Report {
    /// Adds the verdict of a case, which could `see` inside the resource or not.
    pub(super) fn add(&mut self, verdict: Verdict, sees: bool) {
        self.cases += 1;
        self.seeing += usize::from(sees);
        let Err(breach) = verdict else { return };
        match self.breaches.iter_mut().find(|earlier| earlier.has_the_cause_of(&breach)) {
            Some(earlier) => {
                earlier.also.push(format!("{}: {}", breach.law, breach.case));
                if breach.reach == Reach::Run {
                    earlier.reach = Reach::Run;
                }
            }
            None => self.breaches.push(breach),
        }
    }

    /// Returns whether a breach has ended the run.
    pub(super) fn has_ended(&self) -> bool {
        self.breaches.iter().any(|breach| breach.reach == Reach::Run)
    }

    pub(super) fn skip_case(&mut self) {
        self.not_run += 1;
    }

    /// Takes out the breaches that are known, and notes the known ones that did not occur.
    pub(super) fn tolerate(&mut self, known: Vec<Known>) {
        for known in known {
            let before = self.breaches.len();
            self.breaches.retain(|breach| !breach.matches(&known));
            if self.breaches.len() < before { self.known.push(known) } else { self.mended.push(known) }
        }
    }

    /// Returns how many cases were run.
    pub fn cases(&self) -> usize {
        self.cases
    }

    /// Returns how many of the cases could see inside the resource: through the probe, a
    /// [census](crate::Laws::with_census) or a [use](crate::Laws::with_use), whichever the case is about.
    ///
    /// The other cases have seen from outside that calls end and handles move, but not what they leave behind.
    pub fn seeing_cases(&self) -> usize {
        self.seeing
    }

    /// Returns the breaches that are not [known](crate::Laws::known), one for each cause, in the order of the cases.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// Returns whether no law was broken, and every [known](crate::Laws::known) breach still occurs.
    pub fn is_clean(&self) -> bool {
        self.breaches.is_empty() && self.mended.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { cases, seeing, not_run, breaches, known, mended } = self;
        let broke = breaches.iter().map(|breach| 1 + breach.also.len()).sum::<usize>();
        write!(f, "{broke} of {cases} cases broke a law; {seeing} of {cases} cases could see inside")?;
        if *seeing == 0 {
            write!(f, " (build on the probe, or call `with_use` and `with_census`)")?;
        }
        breaches.iter().try_for_each(|breach| write!(f, "\n  {breach}"))?;
        if *not_run > 0 {
            write!(f, "\n  the run ended there; {not_run} cases were not run")?;
        }
        for Known { law, seen, why } in known {
            write!(f, "\n  known: {law}: {seen}: {why}")?;
        }
        for Known { law, seen, why } in mended {
            write!(f, "\n  {law}: the known breach \"{seen}\" ({why}) did not occur: remove it from the list")?;
        }
        Ok(())
    }
}
