//! The flags that a connection's handle and its thread share while a job runs.
//!
//! 1. `cancelled` is set by the handle when the future of a job is dropped, and cleared only by the thread, in
//!    `Worker::clean`. In between it ends everything SQLite does: statements through the progress handler, waits for a
//!    lock through the busy handler. `sqlite3_interrupt` would not do: an interrupt between two statements of a job is
//!    lost, and it never ends a wait for a lock. It may also have to wait for a connection that is being closed, while
//!    setting a flag never waits.
//! 2. `guarded` is set while the connection has a transaction that only its resource may commit.
//! 3. `open` says whether the last job left a transaction open. It is for `probe`, which cannot wait for the thread.
//!
//! All are `Relaxed`: they are hints that are polled, and the reply to each job is sent through a channel, which orders
//! what the thread did before.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// The number of SQLite VM instructions between two calls of the progress handler: some tens of microseconds.
const STEPS: i32 = 1000;

/// How long to sleep between two attempts to take a lock. The last entry is for all further attempts, and limits how
/// late a cancellation is noticed.
const SLEEPS_MICROS: [u64; 8] = [100, 200, 500, 1000, 1000, 2000, 2000, 5000];

/// The shared flags of one connection.
#[derive(Default)]
pub(crate) struct Signal {
    cancelled: AtomicBool,
    guarded: AtomicBool,
    open: AtomicBool,
}

impl Signal {
    /// Stops whatever the thread is doing.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    /// Returns whether the job was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// Resets the cancellation, for the next job.
    pub(crate) fn clear(&self) {
        self.cancelled.store(false, Relaxed);
    }

    /// Sets whether commits in closures are refused.
    pub(crate) fn guard(&self, guarded: bool) {
        self.guarded.store(guarded, Relaxed);
    }

    /// Returns whether commits in closures are refused.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded.load(Relaxed)
    }

    /// Sets whether a transaction is open.
    pub(crate) fn set_open(&self, open: bool) {
        self.open.store(open, Relaxed);
    }

    /// Returns whether a transaction is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Installs the hooks on a connection that the calling thread has just opened, and will keep.
    pub(crate) fn attach(self: &Arc<Self>, connection: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
        LOCK_WAIT.set(Some(LockWait { signal: Arc::clone(self), bound: busy_timeout, since: Instant::now() }));
        self.hook(connection)
    }

    /// Installs the hooks again, because a user's closure may have replaced them.
    pub(crate) fn hook(self: &Arc<Self>, connection: &Connection) -> rusqlite::Result<()> {
        connection.busy_handler(Some(wait_for_lock))?;
        let signal = Arc::clone(self);
        connection.progress_handler(STEPS, Some(move || signal.is_cancelled()))?;
        let signal = Arc::clone(self);
        connection.commit_hook(Some(move || signal.is_guarded()))
    }
}

/// The state of the busy handler. It is kept in the thread, because the handler is a plain function.
struct LockWait {
    signal: Arc<Signal>,
    bound: Duration,
    since: Instant,
}

thread_local! {
    static LOCK_WAIT: RefCell<Option<LockWait>> = const { RefCell::new(None) };
}

/// Limits the waits for a lock on the thread of a connection from now on.
pub(crate) fn limit_lock_wait(bound: Duration) {
    LOCK_WAIT.with_borrow_mut(|wait| wait.iter_mut().for_each(|wait| wait.bound = bound));
}

/// Waits before SQLite tries again to take a lock, and returns whether it should. This is the busy handler; `tries` is
/// the number of attempts so far.
pub(crate) fn wait_for_lock(tries: i32) -> bool {
    LOCK_WAIT.with_borrow_mut(|wait| {
        // Not the thread of a connection: a closure has moved the connection to another one.
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
