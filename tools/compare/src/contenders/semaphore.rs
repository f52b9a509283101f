use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, Settings};

/// A [`Semaphore`] in front of a stack under a lock: the smallest pool in which callers can wait.
pub(crate) struct SemaphoreStack;

pub(crate) struct Shared<B: Backend> {
    permits: Arc<Semaphore>,
    stack: Arc<Mutex<Vec<B::Handle>>>,
    backend: Arc<B>,
}

pub(crate) struct Guard<B: Backend> {
    /// `None` only during the drop.
    handle: Option<B::Handle>,
    stack: Arc<Mutex<Vec<B::Handle>>>,
    /// Dropped last, when the handle is back on the stack.
    _permit: OwnedSemaphorePermit,
}

impl<B: Backend> Drop for Guard<B> {
    fn drop(&mut self) {
        self.stack.lock().extend(self.handle.take());
    }
}

impl Contender for SemaphoreStack {
    const TITLE: &'static str = "Semaphore + Mutex<Vec>";
    const PACKAGE: Option<&'static str> = None;

    type Pool<B: Backend> = Shared<B>;
    type Guard<B: Backend> = Guard<B>;
    type Error<B: Backend> = Refused;

    async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Shared<B> {
        let (permits, stack) = (Arc::new(Semaphore::new(settings.size)), Arc::default());
        Shared { permits, stack, backend }
    }

    async fn get<B: Backend>(pool: &Shared<B>) -> Result<Guard<B>, Refused> {
        let permit = Arc::clone(&pool.permits).acquire_owned().await.map_err(Refused::by)?;
        let idle = pool.stack.lock().pop();
        let handle = match idle {
            Some(handle) => handle,
            None => pool.backend.create().await?,
        };
        Ok(Guard { handle: Some(handle), stack: Arc::clone(&pool.stack), _permit: permit })
    }

    async fn id<B: Backend>(guard: &mut Guard<B>) -> u64 {
        B::id(guard.handle.as_ref().expect("it is taken out in the drop"))
    }
}
