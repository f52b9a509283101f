//! What a connection's handle and its thread tell each other while a job runs.
//!
//! 1. `cancelled` is set by the handle when it leaves a job, and cleared only by the thread, in `Worker::clean`.
//!    Whatever SQLite is doing in between ends: statements through the progress handler, waits for a lock through the
//!    busy handler. `sqlite3_interrupt` would do neither for sure: one that falls between two statements of a job is
//!    lost, and none ends a wait for a lock. It may also have to wait for a connection that is being closed, and
//!    setting a flag never waits.
//! 2. `guarded` is set while the connection carries a transaction that only its resource may commit.
//! 3. `open` says whether the last job left a transaction open. It is for `probe`, which cannot ask the thread.
//!
//! All are `Relaxed`: they are hints that are polled, and every job's answer comes through a channel, which orders
//! what the thread did before it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// How many steps of its machine SQLite takes between two looks at the flag: some tens of microseconds.
const STEPS: i32 = 1000;

/// How long to sleep between two tries for a lock; the last is for all that follow, and bounds how late a cancel is
/// noticed.
const SLEEPS_MICROS: [u64; 8] = [100, 200, 500, 1000, 1000, 2000, 2000, 5000];

#[derive(Default)]
pub(crate) struct Signal {
    cancelled: AtomicBool,
    guarded: AtomicBool,
    open: AtomicBool,
}

impl Signal {
    /// Stops what the thread is doing.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.cancelled.store(false, Relaxed);
    }

    pub(crate) fn guard(&self, guarded: bool) {
        self.guarded.store(guarded, Relaxed);
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded.load(Relaxed)
    }

    pub(crate) fn set_open(&self, open: bool) {
        self.open.store(open, Relaxed);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Puts the hooks on a connection that the calling thread has just opened, and will keep.
    pub(crate) fn attach(self: &Arc<Self>, connection: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
        WAIT.set(Some(Wait { signal: Arc::clone(self), bound: busy_timeout, since: Instant::now() }));
        self.hook(connection)
    }

    /// Renews the hooks: a user's closure may have replaced them.
    pub(crate) fn hook(self: &Arc<Self>, connection: &Connection) -> rusqlite::Result<()> {
        connection.busy_handler(Some(wait_for_lock))?;
        let signal = Arc::clone(self);
        connection.progress_handler(STEPS, Some(move || signal.is_cancelled()))?;
        let signal = Arc::clone(self);
        connection.commit_hook(Some(move || signal.is_guarded()))
    }
}

/// The busy handler is a plain function; what it needs waits for it in its thread.
struct Wait {
    signal: Arc<Signal>,
    bound: Duration,
    since: Instant,
}

thread_local! {
    static WAIT: RefCell<Option<Wait>> = const { RefCell::new(None) };
}

/// SQLite asks, for the `tries`-th time, whether to try again for a lock that somebody else has.
pub(crate) fn wait_for_lock(tries: i32) -> bool {
    WAIT.with_borrow_mut(|wait| {
        // Not on a thread of ours: somebody took the connection away from it.
        let Some(wait) = wait else { return false };
        if tries == 0 {
            wait.since = Instant::now();
        }
        let tries = usize::try_from(tries).unwrap_or(usize::MAX);
        let left = wait.bound.saturating_sub(wait.since.elapsed());
        if wait.signal.is_cancelled() || left.is_zero() {
            return false;
        }
        let sleep = SLEEPS_MICROS[tries.min(SLEEPS_MICROS.len() - 1)];
        thread::sleep(Duration::from_micros(sleep).min(left));
        !wait.signal.is_cancelled()
    })
}
