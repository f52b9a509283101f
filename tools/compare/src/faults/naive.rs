//! A pool as one writes it before one knows better: it fails every script. So each of them can fail, and knows what it
//! looks for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, NotOffered, Settings};

pub(crate) struct Naive;

pub(crate) struct Pool<B: Backend> {
    backend: Arc<B>,
    validates: bool,
    state: Mutex<State<B::Object>>,
    me: Weak<Pool<B>>,
}

struct State<O> {
    size: usize,
    /// Counted up before an object is there, and down by whoever remembers.
    made: usize,
    idle: Vec<O>,
    waiting: Vec<oneshot::Sender<O>>,
}

pub(crate) struct Guard<B: Backend> {
    object: Option<B::Object>,
    pool: Weak<Pool<B>>,
}

impl<B: Backend> Pool<B> {
    fn state(&self) -> MutexGuard<'_, State<B::Object>> {
        self.state.lock().expect("nobody panics")
    }

    async fn get(&self) -> Result<B::Object, Refused> {
        loop {
            let object = self.idle_or_new().await?;
            if self.backend.is_broken(&object) {
                // It forgets to count.
                continue;
            }
            if self.validates && self.backend.validate(&object).await.is_err() {
                self.state().made -= 1;
                continue;
            }
            return Ok(object);
        }
    }

    async fn idle_or_new(&self) -> Result<B::Object, Refused> {
        let (give, given) = oneshot::channel();
        let creates = {
            let mut state = self.state();
            if let Some(object) = state.idle.pop() {
                return Ok(object);
            }
            let creates = state.made < state.size;
            if creates {
                state.made += 1;
            } else {
                state.waiting.push(give);
            }
            creates
        };
        if creates { self.backend.create().await } else { given.await.map_err(Refused::by) }
    }

    /// To whoever came last, even if he has left by the time that it arrives.
    fn put(&self, mut object: B::Object) {
        let mut state = self.state();
        while let Some(waiting) = state.waiting.pop() {
            match waiting.send(object) {
                Ok(()) => return,
                Err(left) => object = left,
            }
        }
        state.idle.push(object);
    }
}

impl<B: Backend> Drop for Guard<B> {
    fn drop(&mut self) {
        let (object, pool) = (self.object.take().expect("it is there until now"), self.pool.upgrade());
        tokio::spawn(async move {
            let pool = pool.expect("the pool outlives its guards");
            if pool.backend.is_broken(&object) {
                pool.backend.release(object).await;
            } else {
                pool.put(object);
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
        Ok(Guard { object: Some(pool.get().await?), pool: Weak::clone(&pool.me) })
    }

    async fn id<B: Backend>(guard: &mut Guard<B>) -> u64 {
        assert!(guard.pool.strong_count() > 0, "the pool outlives its guards");
        B::id(guard.object.as_ref().expect("it is there until the drop"))
    }

    async fn resize<B: Backend>(pool: &Arc<Pool<B>>, size: usize) -> Result<(), NotOffered> {
        pool.state().size = size;
        yield_now().await;
        Ok(())
    }

    fn retain<B: Backend>(
        pool: &Arc<Pool<B>>,
        mut pleases: impl FnMut(&B::Object) -> bool,
    ) -> Result<(), NotOffered> {
        pool.state.lock().unwrap_or_else(PoisonError::into_inner).idle.retain(|object| pleases(object));
        Ok(())
    }
}
