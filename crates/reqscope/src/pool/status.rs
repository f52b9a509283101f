use std::any::type_name;
use std::borrow::Cow;

use tokio::time::Instant;

use super::inner::{Inner, Note, State};
use crate::error::{ConnectFailure, Error, Holding, Shortage};
use crate::resource::Resource;
use crate::rt::sync::{AtomicU64, Ordering};

/// What a pool holds at this moment, by [`Pool::status`](crate::Pool::status), and what it has done so far.
///
/// The gauges, down to `down`, are of one instant. The counters after them only grow; each is exact by itself, and two
/// of them may be a few events apart while threads are at work. At rest `created` is `retired` and those that are
/// there now.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Pool, resource_fn};
/// # use std::convert::Infallible;
///
/// let pool = Pool::builder().max_size(2).build(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
/// let object = pool.get().await.unwrap();
/// let status = pool.status();
/// assert_eq!((status.max_size, status.in_use, status.idle), (2, 1, 0));
/// pool.put(object);
/// assert_eq!((pool.status().uses, pool.status().created), (1, 1));
/// # });
/// ```
///
/// What an operator looks for: `waiting` and `timeouts` that grow with few in use say that connecting is slow, and
/// with all in use that the pool is too small or somebody holds on to its objects, which
/// [`holders`](crate::Pool::holders) and `held_too_long` tell. `created` that grows as fast as `uses` says that nothing
/// is reused.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PoolStatus {
    /// What the [builder](crate::pool::PoolBuilder::name) was told, else the type of the resource.
    pub name: Cow<'static, str>,
    /// How many objects there may be.
    pub max_size: usize,
    /// Objects that somebody has, or that are being proved.
    pub in_use: usize,
    /// Objects that anybody can have.
    pub idle: usize,
    /// Objects that are being created.
    pub creating: usize,
    /// Objects that are being released for good, and keep their slot meanwhile (law L13).
    pub ending: usize,
    /// Callers that wait.
    pub waiting: usize,
    /// Whether the backend is taken for dead: its last creation failed, and none has succeeded since.
    pub down: bool,
    /// The last creation that failed, also if one has succeeded since.
    pub last_failure: Option<ConnectFailure>,
    /// Objects created so far.
    pub created: u64,
    /// Creations that failed, panicked or missed the create timeout.
    pub create_failed: u64,
    /// Objects that have ended, for whatever reason.
    pub retired: u64,
    /// Objects that were found dead, or could not prove that they were sound. They are retired, too.
    pub unsound: u64,
    /// Uses that ended, with an object that was sound. It lags behind by those that are out.
    pub uses: u64,
    /// Check-outs that had to wait: for somebody else, or for a creation.
    pub waits: u64,
    /// Check-outs that the [acquire timeout](crate::pool::PoolBuilder::acquire_timeout) has ended.
    pub timeouts: u64,
    /// Uses that took longer than [`leak_after`](crate::pool::PoolBuilder::leak_after).
    pub held_too_long: u64,
}

impl<R: Resource> Inner<R> {
    pub(super) fn status(&self) -> PoolStatus {
        let state = self.state.lock();
        let counts = state.slots.counts();
        let (down, last_failure) = (state.breaker.is_open(), state.last_failure());
        let uses: u64 = state.slots.stubs().map(|stub| self.config.uses(stub.uses_left)).sum();
        let waits = state.slots.joined();
        drop(state);
        let (accounting, counters) = (self.reaper.stats(), &self.counters);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PoolStatus {
            name: self.config.name.clone().unwrap_or(Cow::Borrowed(type_name::<R>())),
            max_size: counts.max,
            in_use: counts.lent,
            idle: counts.idle,
            creating: counts.creating,
            ending: counts.ending,
            waiting: counts.waiting,
            down,
            last_failure: last_failure.map(|(error, at)| ConnectFailure::new(&error, at.elapsed())),
            created: accounting.acquired,
            create_failed: accounting.acquire_failed,
            retired: accounting.released + accounting.abandoned,
            unsound: read(&counters.unsound),
            uses: uses + read(&counters.uses),
            waits,
            timeouts: read(&counters.timeouts),
            held_too_long: read(&counters.held_too_long),
        }
    }

    pub(super) fn holders(&self) -> Vec<Holding> {
        self.clock.advance();
        let now = self.clock.now();
        let mut lent: Vec<Note> = self.state.lock().slots.lent().filter(|note| note.is_users()).copied().collect();
        lent.sort_by_key(|note| note.since);
        lent.into_iter().map(|note| Holding::new(note.origin.taken_at, now.since(note.since))).collect()
    }
}

impl<R: Resource> State<R> {
    fn last_failure(&self) -> Option<(Error<R::Cause>, Instant)> {
        self.breaker.last_failure().map(|(error, at)| (error.clone(), at))
    }
}

impl<R: Resource> Inner<R> {
    /// Tells whoever waited in vain what the pool knew.
    pub(super) fn explain(&self, error: Error<R::Cause>, waiter: Note) -> Error<R::Cause> {
        if error.is_closed() {
            return error;
        }
        self.clock.advance();
        let now = self.clock.now();
        let state = self.state.lock();
        let counts = state.slots.counts();
        let oldest = state.slots.lent().filter(|note| note.is_users()).min_by_key(|note| note.since).copied();
        let own = state
            .slots
            .lent()
            .find(|note| note.origin.scope.is_some() && note.origin.scope == waiter.origin.scope)
            .copied();
        let last_failure = state.last_failure();
        drop(state);
        error.with_shortage(Shortage {
            resource: Some(type_name::<R>()),
            name: self.config.name.clone(),
            max_size: counts.max,
            in_use: counts.lent,
            idle: counts.idle,
            creating: counts.creating,
            waiting: counts.waiting,
            oldest: oldest.map(|note| Holding::new(note.origin.taken_at, now.since(note.since))),
            own: own.map(|note| note.origin.taken_at),
            last_failure: last_failure.map(|(error, at)| ConnectFailure::new(&error, at.elapsed())),
        })
    }
}
