use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::observer::{Abandoned, Subject};
use reqscope::{Exit, Observer, Scopes};

use crate::drained::drain;

/// Checks that each acquisition of a test was released or abandoned, by source location.
///
/// Dropping the ledger fails the test if an acquisition was neither released nor abandoned, and the message names the
/// lines that acquired. So create the ledger first, drop it last, and wait for background releases before that.
///
/// ```
/// use reqscope_testkit::Ledger;
///
/// let ledger = Ledger::new();
/// let entry = ledger.acquired();
/// // .. work ..
/// entry.released();
/// assert_eq!(ledger.balance().released, 1);
/// ```
///
/// An acquisition that is never released fails the test:
///
/// ```
/// use reqscope_testkit::{Ledger, expect_panic};
///
/// let ledger = Ledger::new();
/// drop(ledger.acquired());
/// let message = expect_panic(|| drop(ledger));
/// assert!(message.contains("1 acquired, 0 released, 0 abandoned"));
/// ```
///
/// # Panics
///
/// Dropping the ledger panics if an acquisition is neither released nor abandoned, unless the thread is already
/// panicking.
#[must_use = "a ledger that is dropped at once checks nothing"]
#[derive(Default)]
pub struct Ledger {
    by_location: Arc<ByLocation>,
}

/// The totals of a [`Ledger`].
///
/// ```
/// use reqscope_testkit::Ledger;
///
/// let ledger = Ledger::new();
/// ledger.acquired().released();
/// ledger.acquired().abandoned();
///
/// let balance = ledger.balance();
/// assert_eq!((balance.acquired, balance.released, balance.abandoned), (2, 1, 1));
/// assert_eq!(balance.to_string(), "2 acquired, 1 released, 1 abandoned");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Balance {
    /// The number of acquisitions.
    pub acquired: u64,
    /// The number of acquisitions that were released.
    pub released: u64,
    /// The number of acquisitions that were abandoned: dropped without a release, and reported as such.
    pub abandoned: u64,
    /// The number of acquisitions taken over by a wrapper that releases them itself.
    pub taken: u64,
}

/// One acquisition in a [`Ledger`], until it is released or abandoned.
///
/// Dropping the entry records nothing, so the acquisition is then missing from the ledger.
///
/// Store the entry beside what was acquired:
///
/// ```
/// use reqscope_testkit::{Entry, Ledger};
///
/// struct Connection {
///     entry: Entry,
/// }
///
/// impl Connection {
///     fn close(self) {
///         self.entry.released();
///     }
/// }
///
/// let ledger = Ledger::new();
/// Connection { entry: ledger.acquired() }.close();
/// assert_eq!(ledger.open(), 0);
/// ```
#[must_use = "the acquisition of a dropped entry is missing from the ledger"]
pub struct Entry {
    at: &'static Location<'static>,
    by_location: Arc<ByLocation>,
}

/// The totals for each line of the program that acquires; sorted, so that a report reads like the file.
#[derive(Default)]
struct ByLocation(Mutex<BTreeMap<&'static Location<'static>, Balance>>);

impl Ledger {
    /// Creates an empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records an acquisition at the caller's line.
    #[track_caller]
    pub fn acquired(&self) -> Entry {
        let at = Location::caller();
        self.by_location.write(at, |balance| balance.acquired += 1);
        Entry { at, by_location: Arc::clone(&self.by_location) }
    }

    /// Returns an observer that records for a [`Scopes`](reqscope::Scopes) or a [`Reaper`](reqscope::Reaper). The line
    /// of an acquisition is the one that called `Lazy::get` or `Lease::acquire`.
    ///
    /// A handle that is taken out with [`Lease::into_handle`](reqscope::Lease::into_handle) counts as taken.
    ///
    /// ```
    /// use reqscope::{Exit, Scopes};
    /// use reqscope_testkit::{Ledger, Probe};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let ledger = Ledger::new();
    /// let scopes = Scopes::builder().observer(ledger.observer()).build();
    /// let scope = scopes.open();
    /// drop(scope.lazy(&Arc::new(Probe::new())).get().await);
    /// assert_eq!(ledger.open(), 1);
    ///
    /// drop(scope.close(Exit::Completed).await);
    /// scopes.drain(Duration::from_secs(5)).await;
    /// assert_eq!(ledger.open(), 0);
    /// # });
    /// ```
    pub fn observer(&self) -> impl Observer + use<> {
        LedgerObserver(Arc::clone(&self.by_location))
    }

    /// Waits like [`drained`](crate::drained), and names in its panic the lines of the program whose acquisitions are
    /// still open.
    ///
    /// # Panics
    ///
    /// Panics at the caller's line if something is left after 10 s, a handle was abandoned during the drain, a future in
    /// the background has failed, or the observer has panicked.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is lost.
    ///
    /// ```
    /// use reqscope::Scopes;
    /// use reqscope_testkit::{Ledger, Probe};
    /// use std::sync::Arc;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let ledger = Ledger::new();
    /// let scopes = Scopes::builder().observer(ledger.observer()).build();
    /// let scope = scopes.open();
    /// drop(scope.lazy(&Arc::new(Probe::new())).get().await);
    /// drop(scope);
    /// ledger.drained(&scopes).await;
    /// # });
    /// ```
    #[track_caller]
    pub fn drained(&self, scopes: &Scopes) -> impl Future<Output = ()> + Send + use<> {
        let caller = Location::caller();
        let (scopes, by_location) = (scopes.clone(), Arc::clone(&self.by_location));
        async move {
            if let Err(left) = drain(&scopes).await {
                let lines = by_location.unbalanced();
                let lines = if lines.is_empty() { vec!["none is open".to_owned()] } else { lines };
                panic!("{caller}: {left}\n  acquisitions by line:\n    {}", lines.join("\n    "));
            }
        }
    }

    /// Returns the totals of all lines.
    pub fn balance(&self) -> Balance {
        let by_location = self.by_location.0.lock();
        by_location.values().fold(Balance::default(), |sum, account| Balance {
            acquired: sum.acquired + account.acquired,
            released: sum.released + account.released,
            abandoned: sum.abandoned + account.abandoned,
            taken: sum.taken + account.taken,
        })
    }

    /// Returns how many acquisitions are neither released, abandoned nor taken.
    pub fn open(&self) -> u64 {
        let balance = self.balance();
        balance.acquired.saturating_sub(balance.released + balance.abandoned + balance.taken)
    }
}

impl Entry {
    /// Records a release.
    pub fn released(self) {
        self.by_location.write(self.at, |balance| balance.released += 1);
    }

    /// Records that the acquired value was dropped without a release.
    pub fn abandoned(self) {
        self.by_location.write(self.at, |balance| balance.abandoned += 1);
    }
}

impl Balance {
    fn is_even(&self) -> bool {
        self.acquired == self.released + self.abandoned + self.taken
    }
}

impl ByLocation {
    fn write(&self, at: &'static Location<'static>, change: impl FnOnce(&mut Balance)) {
        change(self.0.lock().entry(at).or_default());
    }

    /// Returns one line of text for each line of the program whose totals do not balance.
    fn unbalanced(&self) -> Vec<String> {
        let by_location = self.0.lock();
        let uneven = by_location.iter().filter(|(_, balance)| !balance.is_even());
        uneven.map(|(at, balance)| format!("{at}: {balance}")).collect()
    }
}

/// An observer that records, and checks nothing when it is dropped.
struct LedgerObserver(Arc<ByLocation>);

impl Observer for LedgerObserver {
    fn acquired(&self, of: Subject, _waited: Duration) {
        self.0.write(of.taken_at, |balance| balance.acquired += 1);
    }

    fn released(&self, of: Subject, _exit: Exit) {
        self.0.write(of.taken_at, |balance| balance.released += 1);
    }

    fn release_failed(&self, of: Subject, _exit: Exit, _error: &(dyn std::error::Error + 'static)) {
        self.0.write(of.taken_at, |balance| balance.released += 1);
    }

    fn abandoned(&self, of: Subject, _exit: Exit, _why: Abandoned) {
        self.0.write(of.taken_at, |balance| balance.abandoned += 1);
    }

    fn taken(&self, of: Subject) {
        self.0.write(of.taken_at, |balance| balance.taken += 1);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let unbalanced = self.by_location.unbalanced();
        if !unbalanced.is_empty() && !std::thread::panicking() {
            panic!("the ledger does not balance:\n  {}", unbalanced.join("\n  "));
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Balance { acquired, released, abandoned, taken } = self;
        write!(f, "{acquired} acquired, {released} released, {abandoned} abandoned")?;
        if *taken > 0 { write!(f, ", {taken} taken") } else { Ok(()) }
    }
}
