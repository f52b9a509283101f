//! What every contender must do.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;

/// A way to share a bounded set of handles among tasks.
pub(crate) trait Contender: 'static {
    /// Its name in the tables.
    const TITLE: &'static str;

    /// The package it comes from. `None` for a floor, which is a few lines of our own.
    const PACKAGE: Option<&'static str>;

    type Pool<B: Backend>: Send + Sync + 'static;

    /// A handle that is lent. Dropping it returns it, unless [`put`](Contender::put) does more.
    type Guard<B: Backend>: Send + 'static;

    /// Why there is no handle.
    type Error<B: Backend>: Display + Send + 'static;

    /// Returns how many handles it lends at once, if it is set up for `size`.
    fn lends(size: usize) -> usize {
        size
    }

    /// Creates a pool.
    fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> impl Future<Output = Self::Pool<B>> + Send;

    /// Checks a handle out. The future is the contender's own if possible, so that no layer of ours is measured.
    fn get<B: Backend>(pool: &Self::Pool<B>) -> impl Future<Output = Result<Self::Guard<B>, Self::Error<B>>> + Send;

    /// Returns a handle after a successful use.
    fn put<B: Backend>(pool: &Self::Pool<B>, guard: Self::Guard<B>) {
        let _pool = pool;
        drop(guard);
    }

    /// Returns the number of the handle.
    fn id<B: Backend>(guard: &mut Self::Guard<B>) -> impl Future<Output = u64> + Send;

    /// Changes the size, if the contender can.
    fn resize<B: Backend>(pool: &Self::Pool<B>, size: usize) -> impl Future<Output = Result<(), NotOffered>> + Send {
        let (_pool, _size) = (pool, size);
        async { Err(NotOffered) }
    }

    /// Keeps the idle handles for which the predicate returns `true`, if the contender can.
    fn retain<B: Backend>(pool: &Self::Pool<B>, predicate: impl FnMut(&B::Handle) -> bool) -> Result<(), NotOffered> {
        let (_pool, _predicate) = (pool, predicate);
        Err(NotOffered)
    }
}

/// The contender has no such feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOffered;

/// How a pool is set up. A contender ignores what it has no setting for; everything else has its default.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) size: usize,
    /// Whether a handle is validated at each check-out.
    pub(crate) validates: bool,
    /// How many idle handles are kept ready.
    pub(crate) min_idle: usize,
    /// The timeout for waiting, creating, validating and releasing, each if it can be set.
    pub(crate) timeout: Duration,
}

impl Settings {
    pub(crate) fn new(size: usize) -> Settings {
        Settings { size, validates: false, min_idle: 0, timeout: Duration::from_secs(5) }
    }
}
