//! The observer: the events that no task awaits.

use std::error::Error;
use std::panic::Location;
use std::time::Duration;

use crate::exit::Exit;

/// Hears what nobody awaits: for metrics, logs and tests.
///
/// Every method has an empty default. They are called on whatever thread the event happened on, outside every
/// lock, often from a `Drop`: do not block. A panic in one is caught and counted
/// ([`Stats::observer_panics`](crate::stats::Stats::observer_panics)).
///
/// ```
/// use reqscope::observer::{Abandoned, Subject};
/// use reqscope::{Exit, Observer, Scopes};
///
/// struct Log;
///
/// impl Observer for Log {
///     fn abandoned(&self, of: Subject, exit: Exit, why: Abandoned) {
///         eprintln!("{} taken at {} was abandoned ({exit}): {why}", of.resource, of.taken_at);
///     }
/// }
///
/// let scopes = Scopes::builder().observer(Log).build();
/// ```
pub trait Observer: Send + Sync + 'static {
    /// A handle was acquired, after `waited` (zero if it was ready at once).
    fn acquired(&self, of: Subject, waited: Duration) {
        let _unheard = (of, waited);
    }

    /// An acquisition failed. Whoever waits for it hears it too; this is for the case that nobody does.
    fn acquire_failed(&self, of: Subject, error: &(dyn Error + 'static)) {
        let _unheard = (of, error);
    }

    /// A handle arrived after its scope had been closed. It is released at once, and nobody saw it (law L6).
    fn late(&self, of: Subject) {
        let _unheard = of;
    }

    /// A `get` gave up because another task of the same request held the guard for longer than the lend timeout.
    fn lent_too_long(&self, of: Subject, held_since: &'static Location<'static>) {
        let _unheard = (of, held_since);
    }

    /// Somebody has had a handle of a [`Pool`](crate::Pool) for longer than its
    /// [`leak_after`](crate::pool::PoolBuilder::leak_after): a leak, or a request that hangs. Told once per use, by the
    /// pool's janitor, while the use goes on.
    fn held_too_long(&self, of: Subject, held: Duration) {
        let _unheard = (of, held);
    }

    /// A handle was released.
    fn released(&self, of: Subject, exit: Exit) {
        let _unheard = (of, exit);
    }

    /// A release ended with an error or a panic. The handle is gone all the same.
    fn release_failed(&self, of: Subject, exit: Exit, error: &(dyn Error + 'static)) {
        let _unheard = (of, exit, error);
    }

    /// A handle was dropped because its release could not run to its end.
    fn abandoned(&self, of: Subject, exit: Exit, why: Abandoned) {
        let _unheard = (of, exit, why);
    }

    /// A handle left the books through [`Lease::into_handle`](crate::Lease::into_handle).
    fn taken(&self, of: Subject) {
        let _unheard = of;
    }

    /// A guard was still out when its scope was closed. The handle is released, as cancelled, when the guard
    /// drops (law L8).
    fn still_lent(&self, of: Subject) {
        let _unheard = of;
    }

    /// Two different `Arc`s of one resource type were used in one scope, which makes them two resources with two
    /// handles. That is right for two databases, and a mistake where each request makes its `Arc` anew. Told once
    /// per type.
    fn second_resource(&self, resource: &'static str) {
        let _unheard = resource;
    }
}

/// Which handle an event is about.
///
/// Both fields go into a metric as they are, since neither allocates:
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// The type of the resource, as [`std::any::type_name`] has it.
    pub resource: &'static str,
    /// Where in the program the handle was taken: the call of `Lazy::get` or `Lease::acquire`.
    pub taken_at: &'static Location<'static>,
}

impl Subject {
    pub(crate) fn of<R>(taken_at: &'static Location<'static>) -> Self {
        Subject { resource: std::any::type_name::<R>(), taken_at }
    }
}

/// Why a handle was dropped without a release that ran to its end.
///
/// ```
/// use reqscope::observer::Abandoned;
///
/// fn advice(why: Abandoned) -> &'static str {
///     match why {
///         Abandoned::Deadline => "raise the timeout of a close, or see why the backend hangs",
///         Abandoned::NoRuntime => "drain before the runtime ends",
///         _ => "see the log",
///     }
/// }
/// assert_eq!(advice(Abandoned::NoRuntime), "drain before the runtime ends");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Abandoned {
    /// The release was still running when its deadline had passed.
    Deadline,
    /// There was no live async runtime that could run the release.
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
