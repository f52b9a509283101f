use std::any::type_name;
use std::borrow::Cow;
use std::time::Duration;

use super::clock::Moment;
use super::inner::{Holder, Inner, PoolState};
use crate::error::{ConnectFailure, Error, Holding, Shortage, Situation};
use crate::resource::Resource;

/// What a pool holds now, and what it has done so far. Returned by [`Pool::status`](crate::Pool::status).
///
/// The gauges, down to `down`, are from one instant. The counters after them only grow. Each counter is exact by
/// itself, but two of them may be a few events apart while threads are at work. When the pool is quiet, `created` is
/// `retired` plus the number of live handles.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Pool, resource_fn};
/// # use std::convert::Infallible;
///
/// let pool = Pool::builder().max_size(2).build(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
/// let handle = pool.get().await.unwrap();
/// let status = pool.status();
/// assert_eq!((status.max_size, status.in_use, status.idle), (2, 1, 0));
/// pool.put(handle);
/// assert_eq!((pool.status().uses, pool.status().created), (1, 1));
/// # });
/// ```
///
/// If `waiting` and `timeouts` grow while few handles are in use, connecting is slow. If they grow while all handles
/// are in use, the pool is too small or some uses are too long; [`holders`](crate::Pool::holders) and `held_too_long`
/// show which. If `created` grows as fast as `uses`, handles are not reused.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PoolStatus {
    /// The [name of the pool](crate::pool::PoolBuilder::name), or else the type of the resource.
    pub name: Cow<'static, str>,
    /// The maximum number of handles.
    pub max_size: usize,
    /// The number of handles that are lent or being validated.
    pub in_use: usize,
    /// The number of handles that are idle.
    pub idle: usize,
    /// The number of handles that are being created.
    pub creating: usize,
    /// The number of handles that are being released, and keep their slots meanwhile.
    pub ending: usize,
    /// The number of callers that wait.
    pub waiting: usize,
    /// Whether the pool is [paused](crate::Pool::pause).
    pub paused: bool,
    /// Whether the backend is down: the last creation failed, and none has succeeded since.
    pub down: bool,
    /// The last failed creation, even if one has succeeded since.
    pub last_failure: Option<ConnectFailure>,
    /// The number of handles created so far.
    pub created: u64,
    /// The number of creations that failed, panicked or missed the create timeout.
    pub create_failed: u64,
    /// The number of handles that were retired, for whatever reason.
    pub retired: u64,
    /// The number of handles that were found dead or failed their validation. They are also counted as retired.
    pub unsound: u64,
    /// The number of uses that have ended, also with a dead handle.
    pub uses: u64,
    /// The number of check-outs that had to wait, for a lent handle or a creation.
    pub waits: u64,
    /// The number of check-outs that missed the [acquire timeout](crate::pool::PoolBuilder::acquire_timeout).
    pub timeouts: u64,
    /// The number of uses that took longer than [`leak_after`](crate::pool::PoolBuilder::leak_after).
    pub held_too_long: u64,
}

impl<R: Resource> Inner<R> {
    pub(super) fn status(&self) -> PoolStatus {
        let state = self.state.lock();
        let (counts, waits) = (state.slots.counts(), state.slots.waiters.joined());
        let PoolState { uses, timeouts, unsound, held_too_long, .. } = *state;
        let (down, last_failure) = (state.breaker.is_open(), state.breaker.last_failure());
        let last_failure = last_failure.map(|(error, at)| ConnectFailure::new(error, at.elapsed()));
        drop(state);
        let accounting = self.reaper.stats();
        PoolStatus {
            name: self.config.name.clone().unwrap_or(Cow::Borrowed(type_name::<R>())),
            max_size: counts.max,
            in_use: counts.lent + counts.validating,
            idle: counts.idle,
            creating: counts.creating,
            ending: counts.ending,
            waiting: counts.waiting,
            paused: counts.paused,
            down,
            last_failure,
            created: accounting.acquired,
            create_failed: accounting.acquire_failed,
            retired: accounting.released + accounting.abandoned,
            unsound,
            uses,
            waits,
            timeouts,
            held_too_long,
        }
    }

    /// Returns the error of a caller that comes after the close, or waited until then.
    pub(super) fn closed(&self) -> Error<R::Cause> {
        Error::closed_as(Situation::PoolClosed { name: self.config.name.clone(), resource: type_name::<R>() })
    }

    /// Adds the figures of the pool to the error of a caller that got no handle.
    pub(super) fn explain(&self, error: Error<R::Cause>, waiter: &Holder) -> Error<R::Cause> {
        if error.is_closed() { error } else { error.with_shortage(self.shortage(waiter)) }
    }

    fn shortage(&self, waiter: &Holder) -> Shortage {
        let (mut oldest, mut own) = (None::<(Holder, Moment)>, None);
        self.for_each_holder(|holder, since| {
            if oldest.as_ref().is_none_or(|(_, oldest)| since < *oldest) {
                oldest = Some((holder.clone(), since));
            }
            if holder.origin.scope.is_some() && holder.origin.scope == waiter.origin.scope {
                own.get_or_insert(holder.origin.taken_at);
            }
        });
        let now = self.state.lock().clock.now();
        let oldest = oldest.map(|(holder, since)| holder.holding(now.since(since)));
        let (resource, name) = (Some(type_name::<R>()), self.config.name.clone());
        let PoolStatus { paused, max_size, in_use, idle, creating, waiting, last_failure, .. } = self.status();
        Shortage { resource, name, paused, max_size, in_use, idle, creating, waiting, oldest, last_failure, own }
    }
}

impl Holder {
    pub(super) fn holding(&self, held: Duration) -> Holding {
        Holding { taken_at: self.origin.taken_at, held, label: self.details.to_label() }
    }
}
