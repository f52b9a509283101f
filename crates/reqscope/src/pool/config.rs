use std::any::type_name;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::observer::Observer;
use crate::reaper::{Reaper, ReaperBuilder};
use crate::resource::{Reset, Resource};

/// The largest fraction of the lifetime by which a handle is retired early.
const LIFETIME_JITTER: f64 = 0.1;

/// Configures a [`Pool`](crate::Pool).
///
/// The defaults suit a database on the same network and requests that hold a connection for milliseconds.
///
/// A setting that limits a wait is called a timeout, and starts when the wait begins. It always has a value;
/// [`Duration::MAX`] is practically no limit. A setting that limits an age also takes `None`, which disables it, and is
/// accurate to 100 ms, because a task looks ten times a second. In a pool of more than 10,000 handles it looks less
/// often: once a second at 100,000.
///
/// ```
/// use reqscope::pool::Reset;
/// use reqscope::{Error, Pool, resource_fn};
/// use std::{convert::Infallible, time::Duration};
///
/// let pool = Pool::builder()
///     .max_size(20)
///     .min_idle(2)
///     .acquire_timeout(Duration::from_secs(5))
///     .reset(Reset::Always)
///     .build(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
/// # drop(pool);
/// ```
#[must_use]
pub struct PoolBuilder<R> {
    config: Config,
    reaper: ReaperBuilder,
    resource: PhantomData<fn() -> R>,
}

/// Declares the settings, each in one place, with the docs of its setter: `name: Type = default, |argument: Type| value;`
macro_rules! settings {
    ($($(#[$docs:meta])* $name:ident: $kept:ty = $default:expr, |$argument:ident: $given:ty| $value:expr;)*) => {
        /// The settings of the builder.
        #[derive(Clone, Debug)]
        pub(super) struct Config {
            $(pub(super) $name: $kept,)*
        }

        impl<R: Resource> PoolBuilder<R> {
            pub(super) fn new() -> Self {
                let config = Config { $($name: $default,)* };
                PoolBuilder { config, reaper: Reaper::builder(), resource: PhantomData }
            }

            $(
                $(#[$docs])*
                pub fn $name(mut self, $argument: $given) -> Self {
                    self.config.$name = $value;
                    self
                }
            )*
        }
    };
}

settings! {
    /// Sets the name of the pool. Defaults to none, because the type of the resource identifies most pools.
    ///
    /// The name is shown in the [status](crate::pool::PoolStatus::name), in `Debug` output, in the
    /// [events](crate::observer::Subject::pool) that the pool reports, and in the
    /// [shortage](crate::error::Shortage::name) of an error: `pool orders: 10 of 10 in use`. Without a name, the
    /// status and the events have the name of the resource's type, and errors show none.
    ///
    /// Names appear in logs, so do not use a URL with a password.
    name: Option<Cow<'static, str>> = None, |name: impl Into<Cow<'static, str>>| Some(name.into());

    /// Sets the maximum number of handles: idle, lent, being created and being released. Defaults to 10, because a
    /// database works on about as many statements at once as it has cores and disks.
    ///
    /// More connections only queue inside the database, where the queue cannot be seen. The pools of all processes
    /// together must stay below the server's own limit (100 for PostgreSQL, 151 for MariaDB).
    ///
    /// A request that acquires two handles of one pool can wait for itself: always if the size is one, under load if it
    /// is larger.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    max_size: usize = 10, |size: usize| {
        assert!(size > 0, "the size of a pool must be at least 1");
        size
    };

    /// Sets the number of idle handles that the pool keeps ready. Defaults to 0, because an unused pool should cost its
    /// backend nothing, and the first request waits for one connect only.
    ///
    /// The handles are created in the background after the first use: building a pool does no I/O. To have them
    /// earlier, call [`warm`](crate::Pool::warm). A number above the size counts as the size.
    ///
    /// The janitor creates missing handles within 100 ms; waiting callers come first. While the backend is down and no
    /// caller waits, the janitor tries once a second.
    // May exceed the size, which can shrink later. The smaller of the two applies.
    min_idle: usize = 0, |handles: usize| handles;

    /// Sets the maximum number of callers that wait for a lent handle. The next caller fails at once, as
    /// [exhausted](crate::Error::is_exhausted). Defaults to no limit, because the pool cannot know how long a use takes:
    /// of 2,000 callers, all are served in time if a use takes a millisecond, and the
    /// [timeout](Self::acquire_timeout) bounds the wait of each in any case.
    ///
    /// A caller whose handle is being created or validated does not count. With 0, callers fail at once if all handles
    /// are in use.
    max_waiters: usize = usize::MAX, |waiters: usize| waiters;

    /// Sets how long a caller waits for a handle, in all stages together: in the queue, during a creation and during a
    /// validation. Defaults to 30 s, which is common, and less than the 60 s of [`Scopes`](crate::Scopes), because the
    /// error of the pool is more specific.
    ///
    /// One call can have [another timeout](crate::Pool::get_timeout). If the request of the caller has a
    /// [deadline](crate::Scope::set_deadline) that is earlier, that one applies.
    ///
    /// If clients give up earlier, set it below their timeout. No work is lost: a connection that is too late for its
    /// caller goes to the next one.
    ///
    /// A value below the [`create_timeout`](Self::create_timeout) hides the cause: if the backend hangs, callers get an
    /// error that says that they waited, but not why.
    acquire_timeout: Duration = Duration::from_secs(30), |timeout: Duration| timeout;

    /// Sets how long the creation of one handle may take. Defaults to 10 s, for the name lookup, the TCP and TLS
    /// handshakes and the login, because a lost first packet is sent again after 1, 3 and 7 s.
    ///
    /// When it passes, the creation is dropped, its slot is freed, and the backend counts as down until a creation
    /// succeeds. If the runtime of the creation is not driven any more, waiters on other runtimes free the slot 250 ms
    /// later, and begin again. It applies even if every caller has left, because a creation belongs to the pool.
    create_timeout: Duration = Duration::from_secs(10), |timeout: Duration| timeout;

    /// Sets how many handles are created at the same time to begin with. Defaults to 4, because a backend that has just
    /// come back should not face a TLS handshake and a login for every slot of every process at once.
    ///
    /// Each creation that succeeds allows one more at the same time, so a pool of 100 is full after five rounds. A
    /// failure takes that back. While the backend is down, one handle at a time is created.
    ///
    /// # Panics
    ///
    /// If `creations` is 0.
    create_concurrency: usize = 4, |creations: usize| {
        assert!(creations > 0, "a pool must be able to create at least one handle at a time");
        creations
    };

    /// Sets how long a handle may be idle before its next check-out validates it, even if its probe returns `Ready`.
    /// Defaults to 1 s, because a busy pool then never pays for the round trip, and in a quiet pool it does not matter.
    ///
    /// This finds connections that died silently (a firewall, a crash) before their next user does. [`Duration::ZERO`]
    /// validates on each check-out, [`Duration::MAX`] only handles in doubt. A returned handle whose probe returns
    /// [`Unknown`](crate::Health::Unknown) is always validated.
    ///
    /// The time is read at each check-out, and for the return the pool takes its latest reading, which is that of this
    /// check-out or of a later one, or the janitor's. So a long use in a quiet pool may count as idle time for 100 ms, and
    /// longer on a runtime that is not driven; never the other way round.
    validate_after: Duration = Duration::from_secs(1), |idle: Duration| idle;

    /// Sets how long one validation may take. A handle that takes longer counts as dead. Defaults to 2 s, because a
    /// connection that was cut silently makes one caller wait that long, while a shorter timeout would make the pool
    /// reconnect to a server that is merely slow under load.
    ///
    /// A validation after a cancelled use may have to stop a statement and roll back. Raise this if that takes longer
    /// and connecting is expensive.
    ///
    /// A check-out calls `validate` itself, and the timeout begins when it first has to wait. A `validate` that blocks its
    /// thread instead keeps its slot meanwhile, as a user of the handle does.
    validate_timeout: Duration = Duration::from_secs(2), |timeout: Duration| timeout;

    /// Sets how long the release of a retired handle may take, after which the handle is dropped and counted as
    /// [abandoned](crate::observer::Abandoned::Deadline) and its slot is freed. Defaults to 5 s, as in
    /// [`Scopes`](crate::Scopes), because a waiter may need the slot.
    release_timeout: Duration = Duration::from_secs(5), |timeout: Duration| timeout;

    /// Sets which returned handles are validated. Defaults to what the resource says ([`Resource::reset`]), because it
    /// knows what its uses leave behind.
    // What the resource says, unless it was set. Set once the pool is built.
    reset: Option<Reset> = None, |reset: Reset| Some(reset);

    /// Sets the maximum age of a handle; `None` disables the limit. Defaults to 30 min, because connections should move
    /// to new replicas, free what a server has accumulated for them, and end before firewalls and servers cut them.
    ///
    /// Each handle is retired up to a tenth earlier, at random, so that handles created together are not replaced
    /// together. A lent handle is retired when it is returned. An idle handle that is needed for
    /// [`min_idle`](Self::min_idle) is replaced first: until then, for example while the backend is down, it may be
    /// used after a validation. In a full pool the old handle is retired first, one at a time.
    max_lifetime: Option<Duration> = Some(Duration::from_secs(30 * 60)), |age: impl Into<Option<Duration>>| age.into();

    /// Sets how long a handle may be idle before it is retired; `None` disables the limit. Defaults to 10 min, which is
    /// longer than the pauses of a service in use, and shorter than a night. [`min_idle`](Self::min_idle) handles are
    /// kept.
    ///
    /// The handle that was returned last is lent first, so a pool that is too large for its load shrinks.
    idle_timeout: Option<Duration> = Some(Duration::from_secs(10 * 60)), |idle: impl Into<Option<Duration>>| idle.into();

    /// Sets how often an idle handle is validated in the background. Defaults to `None`, which disables it, because
    /// [`validate_after`](Self::validate_after) finds dead handles in time. Set it for a network that drops quiet
    /// connections before the [`idle_timeout`](Self::idle_timeout) retires them.
    ///
    /// A keepalive does not keep a handle from being retired. At most a tenth of the idle handles, and at least one,
    /// are validated at a time. If one of them is dead, all idle handles are validated at once.
    keepalive: Option<Duration> = None, |interval: impl Into<Option<Duration>>| interval.into();

    /// Sets after how many uses a handle is retired. Defaults to `None`, which disables the limit, because the
    /// [`max_lifetime`](Self::max_lifetime) retires handles without extra reconnects under load. Set it for backends
    /// whose sessions grow with each use.
    ///
    /// # Panics
    ///
    /// If `uses` is 0.
    max_uses: u32 = u32::MAX, |uses: impl Into<Option<u32>>| {
        let uses = uses.into();
        assert!(uses != Some(0), "a handle must have at least one use");
        uses.unwrap_or(u32::MAX)
    };

    /// Sets how long one use may take before it is reported as a leak; `None` disables the report. Defaults to 60 s,
    /// twice the default of [`acquire_timeout`](Self::acquire_timeout), because every caller that was waiting when the
    /// use began has timed out by then.
    ///
    /// The use is reported once, to [`Observer::held_too_long`], with the line that took the handle, and counted in
    /// [`PoolStatus::held_too_long`](crate::pool::PoolStatus::held_too_long). The pool does not take the handle away.
    /// Work that holds a handle for longer by design, such as an export, should have a pool of its own.
    leak_after: Option<Duration> = Some(Duration::from_secs(60)), |held: impl Into<Option<Duration>>| held.into();
}

impl<R: Resource> PoolBuilder<R> {
    /// Sets the observer of handles that are created, retired or abandoned, and of uses that take too long. Defaults to
    /// none; the counters work without one. A later call replaces an earlier one.
    ///
    /// Check-outs are not reported to this observer, only counted in
    /// [`PoolStatus::uses`](crate::pool::PoolStatus::uses). The check-outs of a request are reported to the observer of
    /// its [`Scopes`](crate::Scopes).
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.reaper = self.reaper.observer(observer);
        self
    }

    /// Splits the builder into the settings, and the reaper that will count all handles of the pool.
    pub(super) fn into_parts(self) -> (Config, Reaper) {
        let Self { config, reaper, .. } = self;
        let reaper = reaper.acquire_timeout(config.create_timeout).release_timeout(config.release_timeout);
        let reaper = reaper.pool(config.name.as_deref().unwrap_or(type_name::<R>())).build();
        (config, reaper)
    }
}

impl<R> fmt::Debug for PoolBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolBuilder").field(&self.config).finish()
    }
}

impl Config {
    /// Returns the lifetime of one handle. `fraction` is a random number between 0 and 1.
    pub(super) fn lifetime(&self, fraction: f64) -> Option<Duration> {
        self.max_lifetime.map(|lifetime| lifetime - lifetime.mul_f64(LIFETIME_JITTER * fraction))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use reqscope_testkit::expect_panic;

    use super::*;
    use crate::BoxResource;

    fn builder() -> PoolBuilder<BoxResource<(), Infallible>> {
        PoolBuilder::new()
    }

    #[test]
    fn lifetime_jitter_shortens_by_at_most_a_tenth() {
        for lifetime in [Duration::ZERO, Duration::from_secs(1800), Duration::MAX] {
            let (config, _) = builder().max_lifetime(lifetime).into_parts();
            assert_eq!(config.lifetime(0.0), Some(lifetime));
            let shortest = config.lifetime(1.0).unwrap();
            assert!(lifetime.mul_f64(0.89) <= shortest && shortest <= lifetime.mul_f64(0.91), "{shortest:?}");
        }
        let (config, _) = builder().max_lifetime(None).into_parts();
        assert_eq!(config.lifetime(0.5), None);
    }

    #[test]
    fn reaper_gets_the_timeouts_of_the_pool() {
        let (create, release) = (Duration::from_secs(3), Duration::from_secs(4));
        let (config, reaper) = builder().create_timeout(create).release_timeout(release).into_parts();
        assert_eq!((config.create_timeout, config.release_timeout), (create, release));
        let limits = reaper.accounting().limits;
        assert_eq!((limits.acquire, limits.release), (create, release));
    }

    #[test]
    fn max_size_of_zero_panics() {
        let message = expect_panic(|| builder().max_size(0));
        assert!(message.contains("at least"), "{message}");
    }

    #[test]
    fn create_concurrency_of_zero_panics() {
        let message = expect_panic(|| builder().create_concurrency(0));
        assert!(message.contains("at least"), "{message}");
    }

    #[test]
    fn max_uses_of_zero_panics() {
        let message = expect_panic(|| builder().max_uses(0));
        assert!(message.contains("at least"), "{message}");
    }
}
