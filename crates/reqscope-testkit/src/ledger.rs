use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::observer::{Abandoned, Subject};
use reqscope::{Exit, Observer};

/// Balances the books of a test: what was acquired was released or abandoned, location by location.
///
/// Its drop fails the test if they do not balance, and names the lines that are to blame. So make it first and let
/// it be dropped last, and drain what releases in the background before that.
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
/// What is never written off fails the test:
///
/// ```should_panic
/// # use reqscope_testkit::Ledger;
/// let ledger = Ledger::new();
/// let lost = ledger.acquired();
/// ```
///
/// # Panics
///
/// On drop, if the books do not balance and the thread is not panicking already.
#[must_use = "a ledger that is dropped at once watches nothing"]
#[derive(Default)]
pub struct Ledger {
    by_location: Arc<ByLocation>,
}

/// The columns of a [`Ledger`].
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
    /// Acquired.
    pub acquired: u64,
    /// Given back.
    pub released: u64,
    /// Dropped, and known to be.
    pub abandoned: u64,
    /// Taken out of the books by a wrapper that releases them itself.
    pub taken: u64,
}

/// One thing acquired, until it is written off.
///
/// Dropping it writes nothing off: what it stood for is then missing.
///
/// Kept beside the thing itself, it is written off where the thing goes:
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
#[must_use = "an entry that is dropped is missing from the books"]
pub struct Entry {
    at: &'static Location<'static>,
    by_location: Arc<ByLocation>,
}

/// One account for each line of the program that acquires; sorted, so that a report reads like the file.
#[derive(Default)]
struct ByLocation(Mutex<BTreeMap<&'static Location<'static>, Balance>>);

impl Ledger {
    /// Empty books.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something is acquired, on the account of the line that calls.
    #[track_caller]
    pub fn acquired(&self) -> Entry {
        let at = Location::caller();
        self.by_location.write(at, |balance| balance.acquired += 1);
        Entry { at, by_location: Arc::clone(&self.by_location) }
    }

    /// An observer that keeps these books for a [`Scopes`](reqscope::Scopes) or a [`Reaper`](reqscope::Reaper), on
    /// the account of the line that called `Lazy::get` or `Lease::acquire`.
    ///
    /// A handle that leaves through [`Lease::into_handle`](reqscope::Lease::into_handle) leaves these books too, as
    /// taken.
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

    /// The sum of all by_location.
    pub fn balance(&self) -> Balance {
        let by_location = self.by_location.0.lock();
        by_location.values().fold(Balance::default(), |sum, account| Balance {
            acquired: sum.acquired + account.acquired,
            released: sum.released + account.released,
            abandoned: sum.abandoned + account.abandoned,
            taken: sum.taken + account.taken,
        })
    }

    /// How much is missing.
    pub fn open(&self) -> u64 {
        let balance = self.balance();
        balance.acquired.saturating_sub(balance.released + balance.abandoned + balance.taken)
    }
}

impl Entry {
    /// It was given back.
    pub fn released(self) {
        self.by_location.write(self.at, |balance| balance.released += 1);
    }

    /// It was dropped where it could not be given back, and that is known.
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

    /// One line for each account that does not balance.
    fn unbalanced(&self) -> Vec<String> {
        let by_location = self.0.lock();
        let uneven = by_location.iter().filter(|(_, balance)| !balance.is_even());
        uneven.map(|(at, balance)| format!("{at}: {balance}")).collect()
    }
}

/// What a [`Ledger`] gives away: it writes, and checks nothing when it is dropped.
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
            panic!("the books do not balance:\n  {}", unbalanced.join("\n  "));
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
