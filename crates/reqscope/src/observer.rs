//! The observer: events that no task awaits, for metrics, logs and tests.

use std::error::Error;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::details::{Details, Tenant};
use crate::exit::Exit;

/// Receives events that no task awaits, for metrics, logs and tests.
///
/// Every method has an empty default. A method is called on the thread on which the event happened, outside of every
/// lock and often from a `Drop`, so it must not block. A panic in one is caught and counted
/// ([`Stats::observer_panics`](crate::stats::Stats::observer_panics)).
///
/// The `Display` of an error shows its own level only. Log it as [`Chain(error)`](crate::error::Chain), which shows the
/// causes too.
///
/// ```
/// use reqscope::observer::{Abandoned, Subject};
/// use reqscope::{Exit, Observer, Scopes};
///
/// struct Log;
///
/// impl Observer for Log {
///     fn abandoned(&self, of: Subject, exit: Exit, why: Abandoned) {
///         let request = of.label().unwrap_or("no request");
///         eprintln!("{} taken at {} by {request} was abandoned ({exit}): {why}", of.resource, of.taken_at);
///     }
/// }
///
/// let scopes = Scopes::builder().observer(Log).build();
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Called when a handle was acquired. `waited` is how long that took; zero if the handle was ready at once.
    fn acquired(&self, of: Subject, waited: Duration) {
        let _unused = (of, waited);
    }

    /// Called when an acquisition failed. Callers that wait for the acquisition get the error too, but there may be
    /// none.
    fn acquire_failed(&self, of: Subject, error: &(dyn Error + 'static)) {
        let _unused = (of, error);
    }

    /// Called when a handle arrived after its scope had been closed. The handle is released at once and never used (law
    /// L6).
    fn late(&self, of: Subject) {
        let _unused = of;
    }

    /// Called when a `get` timed out because another task of the same request held the guard for longer than the lend
    /// timeout.
    fn lent_too_long(&self, of: Subject, held_since: &'static Location<'static>) {
        let _unused = (of, held_since);
    }

    /// Called when a handle of a [`Pool`](crate::Pool) has been checked out for longer than its
    /// [`leak_after`](crate::pool::PoolBuilder::leak_after): a leak, or a request that hangs. Reported once per use, by
    /// the pool's janitor, while the handle is still checked out.
    fn held_too_long(&self, of: Subject, held: Duration) {
        let _unused = (of, held);
    }

    /// Called when a handle was released.
    fn released(&self, of: Subject, exit: Exit) {
        let _unused = (of, exit);
    }

    /// Called when a release ended with an error or a panic. The handle is gone in that case too.
    fn release_failed(&self, of: Subject, exit: Exit, error: &(dyn Error + 'static)) {
        let _unused = (of, exit, error);
    }

    /// Called when a handle was dropped because its release could not run to its end.
    fn abandoned(&self, of: Subject, exit: Exit, why: Abandoned) {
        let _unused = (of, exit, why);
    }

    /// Called when a handle was taken out and is no longer counted, with
    /// [`Lease::into_handle`](crate::Lease::into_handle).
    fn taken(&self, of: Subject) {
        let _unused = of;
    }

    /// Called when a scope was closed while one of its guards was still held. The handle is released, as cancelled,
    /// when the guard is dropped (law L8).
    fn still_lent(&self, of: Subject) {
        let _unused = of;
    }

    /// Called when a future of [`ScopeHandle::on_completed`](crate::ScopeHandle::on_completed) or
    /// [`Reaper::spawn`](crate::Reaper::spawn) panicked, missed its deadline or lost its runtime. `spawned_at` is the
    /// line of that call.
    fn task_failed(&self, spawned_at: &'static Location<'static>, error: &(dyn Error + 'static)) {
        let _unused = (spawned_at, error);
    }

    /// Called when two different `Arc`s of one resource type were used in one scope, which makes them two resources
    /// with two handles, unless they have one [identity](crate::Resource::identity). This is right for two databases,
    /// but a mistake if each request creates a new `Arc`. Reported once per type.
    fn second_resource(&self, resource: &'static str) {
        let _unused = resource;
    }
}

/// The handle that an event is about.
///
/// The fields are `'static`, so they can be used as labels of a metric without an allocation:
///
/// ```
/// use reqscope::observer::Subject;
/// use reqscope::Observer;
/// use std::{collections::HashMap, sync::Mutex, time::Duration};
///
/// #[derive(Default)]
/// struct Waits(Mutex<HashMap<&'static str, Duration>>);
///
/// impl Observer for Waits {
///     fn acquired(&self, of: Subject, waited: Duration) {
///         *self.0.lock().unwrap().entry(of.resource).or_default() += waited;
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// The type of the resource, as [`std::any::type_name`] returns it.
    pub resource: &'static str,
    /// The line of code that took the handle: the call of `Lazy::get` or `Lease::acquire`. For a handle that a pool has
    /// created, it is the call of `get` that caused the creation, or the line that built the pool.
    pub taken_at: &'static Location<'static>,
    details: Details,
    pool: Option<Arc<str>>,
}

impl Subject {
    pub(crate) fn of<R>(taken_at: &'static Location<'static>, details: &Details) -> Self {
        Subject { resource: std::any::type_name::<R>(), taken_at, details: details.clone(), pool: None }
    }

    /// Adds the name of the pool that reports the event, if a pool does.
    pub(crate) fn in_pool(mut self, pool: &Option<Arc<str>>) -> Self {
        self.pool.clone_from(pool);
        self
    }

    /// Returns the [name](crate::pool::PoolBuilder::name) of the pool that reports the event, or of the pool from which the
    /// handle comes, or the type of that pool's resource if it has no name. So the events of two pools of one type that
    /// are used in one scope can be told apart.
    ///
    /// Returns `None` for handles that come from no pool, for a resource around a [`Lease`](crate::Lease), such as a
    /// transaction, whose lease has events of its own, and in the events about a guard:
    /// [`still_lent`](Observer::still_lent) and [`lent_too_long`](Observer::lent_too_long).
    pub fn pool(&self) -> Option<&str> {
        self.pool.as_deref().or_else(|| self.details.pool().map(|name| &**name))
    }

    /// Returns the [label](crate::ScopeHandle::set_label) that the request had when it acquired the handle, such as
    /// `GET /orders/{id}`. Returns `None` if it had none, and for a handle that belongs to no request.
    ///
    /// The text is cut and escaped, so that it can be written to a log as it is; see
    /// [`Label`](crate::context::Label).
    pub fn label(&self) -> Option<&str> {
        self.details.label()
    }

    /// Returns the [tenant](crate::ScopeHandle::set_tenant) that the request had when it acquired the handle.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.details.tenant()
    }
}

/// Why a handle was dropped without a release that ran to its end.
///
/// ```
/// use reqscope::observer::Abandoned;
///
/// fn advice(why: Abandoned) -> &'static str {
///     match why {
///         Abandoned::Deadline => "raise the close timeout, or find out why the backend hangs",
///         Abandoned::NoRuntime => "drain before the runtime ends",
///         _ => "see the log",
///     }
/// }
/// assert_eq!(advice(Abandoned::NoRuntime), "drain before the runtime ends");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Abandoned {
    /// The release was still running when its deadline passed.
    Deadline,
    /// No live async runtime could run the release.
    NoRuntime,
}

impl std::fmt::Display for Abandoned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Abandoned::Deadline => "its release missed the deadline",
            Abandoned::NoRuntime => "no live runtime could run its release",
        })
    }
}
