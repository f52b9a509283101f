//! What everybody is asked to do.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;

/// A way to share a bounded set of objects among tasks.
pub(crate) trait Contender: 'static {
    /// What tables call it.
    const TITLE: &'static str;

    /// The package it comes from; none, if it is a floor: what a few lines of one's own would do.
    const PACKAGE: Option<&'static str>;

    type Pool<B: Backend>: Send + Sync + 'static;

    /// An object that is out. Dropping it gives it back, unless [`put`](Contender::put) says otherwise.
    type Guard<B: Backend>: Send + 'static;

    /// Why there is no object.
    type Error<B: Backend>: Display + Send + 'static;

    /// How many it lends at once if it is set up for so many.
    fn lends(size: usize) -> usize {
        size
    }

    fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> impl Future<Output = Self::Pool<B>> + Send;

    /// As it comes, where that can be done: what a layer of ours would take is not to be measured.
    fn get<B: Backend>(pool: &Self::Pool<B>) -> impl Future<Output = Result<Self::Guard<B>, Self::Error<B>>> + Send;

    /// Gives it back after a use that ended in order.
    fn put<B: Backend>(pool: &Self::Pool<B>, guard: Self::Guard<B>) {
        let _pool = pool;
        drop(guard);
    }

    /// Which object it is.
    fn id<B: Backend>(guard: &mut Self::Guard<B>) -> impl Future<Output = u64> + Send;

    /// Changes the size, where that can be done.
    fn resize<B: Backend>(pool: &Self::Pool<B>, size: usize) -> impl Future<Output = Result<(), NotOffered>> + Send {
        let (_pool, _size) = (pool, size);
        async { Err(NotOffered) }
    }

    /// Keeps the idle objects that please, where that can be done.
    fn retain<B: Backend>(pool: &Self::Pool<B>, pleases: impl FnMut(&B::Object) -> bool) -> Result<(), NotOffered> {
        let (_pool, _pleases) = (pool, pleases);
        Err(NotOffered)
    }
}

/// The contender has nothing of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOffered;

/// How a pool is set up. What a contender has no setting for stays out; all that is not named here is its default.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) size: usize,
    /// Whether an object is asked at each check-out whether it is sound.
    pub(crate) validates: bool,
    /// How many idle objects are kept ready.
    pub(crate) min_idle: usize,
    /// For waiting, creating, validating and releasing, each where it can be set.
    pub(crate) timeout: Duration,
}

impl Settings {
    pub(crate) fn new(size: usize) -> Settings {
        Settings { size, validates: false, min_idle: 0, timeout: Duration::from_secs(5) }
    }
}
