//! A naive pool, which fails every script. It proves that each script can fail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, NotOffered, Settings};

pub(crate) struct Naive;

pub(crate) struct Pool<B: Backend> {
    backend: Arc<B>,
    validates: bool,
    state: Mutex<State<B::Handle>>,
    me: Weak<Pool<B>>,
}

struct State<O> {
    size: usize,
    /// Incremented before a handle exists, and decremented only sometimes.
    made: usize,
    idle: Vec<O>,
    waiting: Vec<oneshot::Sender<O>>,
}

pub(crate) struct Guard<B: Backend> {
    handle: Option<B::Handle>,
    pool: Weak<Pool<B>>,
}

impl<B: Backend> Pool<B> {
    fn state(&self) -> MutexGuard<'_, State<B::Handle>> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    async fn get(&self) -> Result<B::Handle, Refused> {
        loop {
            let handle = self.idle_or_new().await?;
            if self.backend.is_broken(&handle) {
                // It does not decrement the count.
                continue;
            }
            if self.validates && self.backend.validate(&handle).await.is_err() {
                self.state().made -= 1;
                continue;
            }
            return Ok(handle);
        }
    }

    async fn idle_or_new(&self) -> Result<B::Handle, Refused> {
        let (sender, receiver) = oneshot::channel();
        let creates = {
            let mut state = self.state();
            if let Some(handle) = state.idle.pop() {
                return Ok(handle);
            }
            let creates = state.made < state.size;
            if creates {
                state.made += 1;
            } else {
                state.waiting.push(sender);
            }
            creates
        };
        if creates { self.backend.create().await } else { receiver.await.map_err(Refused::by) }
    }

    /// Gives the handle to the last waiter, even if that has left by the time it arrives.
    fn put(&self, mut handle: B::Handle) {
        let mut state = self.state();
        while let Some(waiting) = state.waiting.pop() {
            match waiting.send(handle) {
                Ok(()) => return,
                Err(left) => handle = left,
            }
        }
        state.idle.push(handle);
    }
}

impl<B: Backend> Drop for Guard<B> {
    fn drop(&mut self) {
        let (handle, pool) = (self.handle.take().expect("it is taken only here"), self.pool.upgrade());
        tokio::spawn(async move {
            let pool = pool.expect("the pool outlives its guards");
            if pool.backend.is_broken(&handle) {
                pool.backend.release(handle).await;
            } else {
                pool.put(handle);
            }
        });
    }
}

impl Contender for Naive {
    const TITLE: &'static str = "naive";
    const PACKAGE: Option<&'static str> = None;

    type Pool<B: Backend> = Arc<Pool<B>>;
    type Guard<B: Backend> = Guard<B>;
    type Error<B: Backend> = Refused;

    async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Arc<Pool<B>> {
        let state = State { size: settings.size, made: 0, idle: Vec::new(), waiting: Vec::new() };
        Arc::new_cyclic(|me| Pool {
            backend,
            validates: settings.validates,
            state: Mutex::new(state),
            me: Weak::clone(me),
        })
    }

    async fn get<B: Backend>(pool: &Arc<Pool<B>>) -> Result<Guard<B>, Refused> {
        Ok(Guard { handle: Some(pool.get().await?), pool: Weak::clone(&pool.me) })
    }

    async fn id<B: Backend>(guard: &mut Guard<B>) -> u64 {
        assert!(guard.pool.strong_count() > 0, "the pool outlives its guards");
        B::id(guard.handle.as_ref().expect("it is taken only in the drop"))
    }

    async fn resize<B: Backend>(pool: &Arc<Pool<B>>, size: usize) -> Result<(), NotOffered> {
        pool.state().size = size;
        yield_now().await;
        Ok(())
    }

    fn retain<B: Backend>(
        pool: &Arc<Pool<B>>,
        mut predicate: impl FnMut(&B::Handle) -> bool,
    ) -> Result<(), NotOffered> {
        pool.state.lock().unwrap_or_else(PoisonError::into_inner).idle.retain(|handle| predicate(handle));
        Ok(())
    }
}
