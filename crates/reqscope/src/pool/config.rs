use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::observer::Observer;
use crate::reaper::{Reaper, ReaperBuilder};
use crate::resource::Resource;

/// Waiters per slot. Behind so many, a caller is served in time only if a use takes less than 0.3 s.
const WAITERS_PER_SLOT: usize = 100;
/// By how much of the lifetime at most a handle is retired earlier than the others.
const LIFETIME_JITTER: f64 = 0.1;

/// Sets up a pool.
///
/// The defaults suit a database on the same network and requests that hold a connection for milliseconds. What
/// bounds a wait is called a timeout, always has a value, and counts from the moment when that wait begins;
/// [`Duration::MAX`] comes close to none. What bounds an age takes `None` too, for "never", and is off by up to
/// 100 ms, since the pool reads no clock where it can do without.
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

/// What the builder was told.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) max_size: usize,
    /// May exceed the size, which can shrink later: the smaller of the two counts.
    pub(super) min_idle: usize,
    pub(super) max_waiters: Option<usize>,
    pub(super) acquire_timeout: Duration,
    pub(super) create_timeout: Duration,
    pub(super) create_concurrency: usize,
    pub(super) validate_after: Duration,
    pub(super) validate_timeout: Duration,
    pub(super) release_timeout: Duration,
    pub(super) reset: Reset,
    pub(super) max_lifetime: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) keepalive: Option<Duration>,
    pub(super) max_uses: Option<u32>,
    pub(super) leak_after: Option<Duration>,
}

/// Which handles are validated when they come back, before somebody else gets them.
///
/// A validation proves that a handle is alive *and* clean for its next user, so it is also what resets it.
///
/// ```
/// use reqscope::pool::Reset;
///
/// assert_eq!(Reset::default(), Reset::AfterDoubt);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reset {
    /// Those in doubt only: the use ended `Cancelled` or `Panicked`, or the probe does not say `Ready`. Right where a
    /// user who finished leaves nothing behind, as with transactions that end with their handle.
    #[default]
    AfterDoubt,
    /// Each one, after each use. Costs a round trip on each, for which nobody waits unless all are in use. Right where
    /// users leave something behind: session settings, temporary tables, locks.
    Always,
}

impl<R: Resource> PoolBuilder<R> {
    pub(super) fn new() -> Self {
        let config = Config {
            name: None,
            max_size: 10,
            min_idle: 0,
            max_waiters: None,
            acquire_timeout: Duration::from_secs(30),
            create_timeout: Duration::from_secs(10),
            create_concurrency: 4,
            validate_after: Duration::from_secs(1),
            validate_timeout: Duration::from_secs(2),
            release_timeout: Duration::from_secs(5),
            reset: Reset::AfterDoubt,
            max_lifetime: Some(Duration::from_secs(30 * 60)),
            idle_timeout: Some(Duration::from_secs(10 * 60)),
            keepalive: None,
            max_uses: None,
            leak_after: Some(Duration::from_secs(60)),
        };
        PoolBuilder { config, reaper: Reaper::builder(), resource: PhantomData }
    }

    /// What the pool is called in its [status](crate::pool::PoolStatus::name), its `Debug`, and the
    /// [shortage](crate::error::Shortage::name) of an error: `pool orders: 10 of 10 in use`. Default: none. Then the status
    /// has the name of the resource's type, which tells two pools apart unless both are over the same type, and errors
    /// leave it out, as they have the cause's type.
    ///
    /// It is read by people and goes into logs, so no URL with a password.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.config.name = Some(name.into());
        self
    }

    /// How many handles there are at once: idle ones, those in use, those being made and those being released.
    /// Default: 10. A database works on about as many statements at once as it has cores and disks; more connections
    /// only queue inside of it, where nobody sees the queue. All processes together have to stay below the server's
    /// own limit (100 for PostgreSQL, 151 for MariaDB).
    ///
    /// A request that holds two handles of one pool can wait for itself: with a size of one always, with more under
    /// load.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    pub fn max_size(mut self, size: usize) -> Self {
        assert!(size > 0, "a pool without slots serves nobody");
        self.config.max_size = size;
        self
    }

    /// How many idle handles the pool keeps ready. Default: 0, since a pool that nobody uses should cost its backend
    /// nothing, and the first request waits for one connect only.
    ///
    /// They are made in the background, from the first use on: building a pool does no I/O. To have them before that,
    /// [`warm`](crate::Pool::warm) it. More than the size counts as the size, now or after a later resize.
    ///
    /// The janitor sees to it within 100 ms, and callers who wait come first. While the backend is down it tries once a
    /// second, if nobody else does.
    pub fn min_idle(mut self, handles: usize) -> Self {
        self.config.min_idle = handles;
        self
    }

    /// How many callers may wait for somebody else to give a handle back; the next one fails at once, as
    /// [exhausted](crate::Error::is_exhausted). Default: 100 per slot, and so 1000 for a pool of 10. Behind so many a
    /// caller is served before its [timeout](Self::acquire_timeout) only if a use takes less than 0.3 s; in a longer
    /// queue everybody waits for what nobody gets.
    ///
    /// Whose handle is just being made does not count. With 0 nobody waits for others: who finds all in use is told
    /// so.
    pub fn max_waiters(mut self, waiters: usize) -> Self {
        self.config.max_waiters = Some(waiters);
        self
    }

    /// How long a caller waits for a handle, all stages together: in the queue, while one is made, while it is
    /// validated. Default: 30 s, as is usual, and less than the 60 s of [`Scopes`](crate::Scopes), so that
    /// the pool, which knows why, speaks first.
    ///
    /// Unless it is below 0.5 s, it may come 10 ms late on a multi-thread runtime: in a crowd nobody reads the clock.
    ///
    /// Where clients give up sooner, make it shorter than their patience. Nothing that was begun is lost: the
    /// connection that comes too late for its caller goes to the next.
    ///
    /// Less than the [`create_timeout`](Self::create_timeout) hides why: callers of a backend that hangs hear that
    /// they waited, and not for what.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.config.acquire_timeout = timeout;
        self
    }

    /// How long it may take to make one handle. Default: 10 s, for the name, the TCP and TLS handshakes and the login:
    /// a lost first packet is sent again after 1, 3 and 7 s, and each of these tries still has a chance.
    ///
    /// After it the creation is dropped, its slot is free, and the backend counts as down until one succeeds. It
    /// counts even when every caller has left, as a creation belongs to the pool.
    pub fn create_timeout(mut self, timeout: Duration) -> Self {
        self.config.create_timeout = timeout;
        self
    }

    /// How many handles are made at once. Default: 4. A pool of 10 is full after three rounds, and a backend that has
    /// just come back is not met by every slot of every process with a TLS handshake and a login, which cost it more
    /// than most statements.
    ///
    /// While the backend is down it is one, whatever this says.
    ///
    /// # Panics
    ///
    /// If `creations` is 0.
    pub fn create_concurrency(mut self, creations: usize) -> Self {
        assert!(creations > 0, "a pool that may not create has nothing to give");
        self.config.create_concurrency = creations;
        self
    }

    /// After how long without use a handle is validated before it is given out, though its probe says that it is
    /// ready. Default: 1 s. A busy pool never pays the round trip, and a quiet one does not notice it; a connection
    /// that died without a word (a firewall, a crash) is found here and not by its next user.
    ///
    /// [`Duration::ZERO`] validates on each check-out, [`Duration::MAX`] only in doubt. A handle whose probe says
    /// [`Unknown`](crate::Health::Unknown) when it comes back is validated then, in the background, whatever this says.
    pub fn validate_after(mut self, idle: Duration) -> Self {
        self.config.validate_after = idle;
        self
    }

    /// How long one validation may take; the handle of one that takes longer counts as dead. Default: 2 s. A
    /// connection that was cut without a word costs one caller that long, so it is short; and a server under load
    /// answers late, so it is no shorter, or the pool would meet the load with reconnects.
    ///
    /// A validation after doubt may have to stop a statement and to roll back. Raise this where that takes longer and
    /// a connect is dear.
    pub fn validate_timeout(mut self, timeout: Duration) -> Self {
        self.config.validate_timeout = timeout;
        self
    }

    /// How long the release of a retired handle may take; after that the handle is dropped and counted as
    /// [abandoned](crate::observer::Abandoned::Deadline), and its slot is free. Default: 5 s, as in [`Scopes`](crate::Scopes):
    /// long for a goodbye, short for a slot that somebody waits for.
    pub fn release_timeout(mut self, timeout: Duration) -> Self {
        self.config.release_timeout = timeout;
        self
    }

    /// Which handles are validated when they come back. Default: [`Reset::AfterDoubt`], since most users leave nothing
    /// behind, and should not pay for those who do.
    pub fn reset(mut self, reset: Reset) -> Self {
        self.config.reset = reset;
        self
    }

    /// How old a handle may get. `None`: as old as it likes. Default: 30 min, so that connections move to new replicas
    /// and let go of what a server piled up for them, and stay below what firewalls and servers cut by themselves.
    ///
    /// Each gets up to a tenth less, by chance: those that were made together are not replaced together. One in use is
    /// left alone until it comes back. An idle one without which fewer than [`min_idle`](Self::min_idle) were left is
    /// replaced before it is retired: until then, as while the backend is down, it may be used, after a validation.
    /// Where the pool is full it goes first, one at a time.
    pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.config.max_lifetime = lifetime.into();
        self
    }

    /// How long a handle may stay idle before it is retired. `None`: for ever. Default: 10 min: longer than the pauses
    /// of a service that is used, shorter than a night. [`min_idle`](Self::min_idle) handles are spared.
    ///
    /// The handle that came back last is given out first, so a pool that is too large for its load shrinks.
    pub fn idle_timeout(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.config.idle_timeout = idle.into();
        self
    }

    /// After how long without use an idle handle is validated in the background, again and again. Default: never,
    /// since [`validate_after`](Self::validate_after) finds dead ones in time. It is for a network that forgets quiet
    /// connections sooner than the [`idle_timeout`](Self::idle_timeout) retires them.
    ///
    /// It keeps a handle from being forgotten, not from being retired. At most a tenth of the idle ones, and at least
    /// one, is away for it at a time. When it finds one dead, all the others that are idle are validated at once.
    pub fn keepalive(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.config.keepalive = interval.into();
        self
    }

    /// After how many uses a handle is retired. Default: never; the [`max_lifetime`](Self::max_lifetime) does it
    /// without a reconnect more under load. It is for backends whose sessions grow with each use.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn max_uses(mut self, uses: impl Into<Option<u32>>) -> Self {
        let uses = uses.into();
        assert!(uses != Some(0), "a handle that may not be used serves nobody");
        self.config.max_uses = uses;
        self
    }

    /// After how long in one use a handle is reported as leaked, once, with the place where it was taken. `None`:
    /// never. Default: 60 s, twice the default of [`acquire_timeout`](Self::acquire_timeout): whoever began to wait
    /// with that use has long given up.
    ///
    /// The report goes to [`Observer::held_too_long`], and is counted in
    /// [`PoolStatus::held_too_long`](crate::pool::PoolStatus::held_too_long). It is no more than that: the pool takes nothing
    /// from its users. Work that holds a handle for longer by
    /// design, such as an export, is better off with a pool of its own.
    pub fn leak_after(mut self, held: impl Into<Option<Duration>>) -> Self {
        self.config.leak_after = held.into();
        self
    }

    /// Who hears of the handles that are made and retired, of those that are abandoned, and of uses that are too long.
    /// Default: nobody; the counters count all the same. Said twice, the last one counts.
    ///
    /// It is not told of check-outs: those are counted in [`PoolStatus::uses`](crate::pool::PoolStatus::uses). A request's
    /// own are heard by the observer of its [`Scopes`](crate::Scopes).
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.reaper = self.reaper.observer(observer);
        self
    }

    /// For `build`: the settings, and the books of all handles the pool will make.
    pub(super) fn into_parts(self) -> (Config, Reaper) {
        let Self { config, reaper, resource: _ } = self;
        let reaper = reaper.acquire_timeout(config.create_timeout).release_timeout(config.release_timeout);
        (config, reaper.build())
    }
}

impl<R> fmt::Debug for PoolBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolBuilder").field(&self.config).finish()
    }
}

impl Config {
    /// How many may wait for a handle of somebody else, in a pool of this size.
    pub(super) fn max_waiters(&self, size: usize) -> usize {
        self.max_waiters.unwrap_or(size.saturating_mul(WAITERS_PER_SLOT))
    }

    /// After how many uses a handle is retired.
    pub(super) fn max_uses(&self) -> u32 {
        self.max_uses.unwrap_or(u32::MAX)
    }

    /// How many uses there were, if so many are left.
    pub(super) fn uses(&self, left: u32) -> u64 {
        u64::from(self.max_uses() - left)
    }

    /// The lifetime of one handle; `fraction` is by chance between 0 and 1.
    pub(super) fn lifetime(&self, fraction: f64) -> Option<Duration> {
        self.max_lifetime.map(|lifetime| lifetime - lifetime.mul_f64(LIFETIME_JITTER * fraction))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

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
    fn max_waiters_grows_with_the_size_unless_set() {
        let (config, _) = builder().into_parts();
        assert_eq!(config.max_waiters(config.max_size), 1000);
        assert_eq!(config.max_waiters(usize::MAX), usize::MAX);
        let (config, _) = builder().max_waiters(7).into_parts();
        assert_eq!(config.max_waiters(1), 7);
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
    #[should_panic = "serves nobody"]
    fn max_size_of_zero_panics() {
        drop(builder().max_size(0));
    }

    #[test]
    #[should_panic = "nothing to give"]
    fn create_concurrency_of_zero_panics() {
        drop(builder().create_concurrency(0));
    }

    #[test]
    #[should_panic = "serves nobody"]
    fn max_uses_of_zero_panics() {
        drop(builder().max_uses(0));
    }
}
