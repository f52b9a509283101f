use tokio::time::Instant;

use super::inner::{Inner, Note, State};
use crate::resource::Resource;
use crate::{ConnectFailure, Error, Holding, Shortage};

/// What a pool holds at this moment, by [`Pool::status`](crate::Pool::status). All figures are of one instant.
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
/// # pool.put(object);
/// # });
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PoolStatus {
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
}

impl<R: Resource> Inner<R> {
    pub(super) fn status(&self) -> PoolStatus {
        let state = self.state.lock();
        let counts = state.slots.counts();
        let (down, last_failure) = (state.breaker.is_open(), state.last_failure());
        drop(state);
        PoolStatus {
            max_size: counts.max,
            in_use: counts.lent,
            idle: counts.idle,
            creating: counts.creating,
            ending: counts.ending,
            waiting: counts.waiting,
            down,
            last_failure: last_failure.map(|(error, at)| ConnectFailure::new(&error, at.elapsed())),
        }
    }

    pub(super) fn holders(&self) -> Vec<Holding> {
        self.clock.advance();
        let now = self.clock.now();
        let mut lent: Vec<Note> = self.state.lock().slots.lent().copied().collect();
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
        let oldest = state.slots.lent().min_by_key(|note| note.since).copied();
        let own = state
            .slots
            .lent()
            .find(|note| note.origin.scope.is_some() && note.origin.scope == waiter.origin.scope)
            .copied();
        let last_failure = state.last_failure();
        drop(state);
        error.with_shortage(Shortage {
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
