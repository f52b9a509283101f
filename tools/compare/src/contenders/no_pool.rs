use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, Settings};

/// A new handle each time, which is dropped after its use. A [`Semaphore`] bounds them, as a server's limit on
/// connections would.
pub(crate) struct NoPool;

pub(crate) struct Shared<B> {
    permits: Arc<Semaphore>,
    backend: Arc<B>,
}

pub(crate) struct Guard<B: Backend> {
    handle: B::Handle,
    /// Dropped last, after the handle.
    _permit: OwnedSemaphorePermit,
}

impl Contender for NoPool {
    const TITLE: &'static str = "no pool";
    const PACKAGE: Option<&'static str> = None;

    type Pool<B: Backend> = Shared<B>;
    type Guard<B: Backend> = Guard<B>;
    type Error<B: Backend> = Refused;

    async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Shared<B> {
        Shared { permits: Arc::new(Semaphore::new(settings.size)), backend }
    }

    async fn get<B: Backend>(pool: &Shared<B>) -> Result<Guard<B>, Refused> {
        let permit = Arc::clone(&pool.permits).acquire_owned().await.map_err(Refused::by)?;
        Ok(Guard { handle: pool.backend.create().await?, _permit: permit })
    }

    async fn id<B: Backend>(guard: &mut Guard<B>) -> u64 {
        B::id(&guard.handle)
    }
}
