use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, Settings};

/// One handle in tokio's [`Mutex`], as most programs begin: the first user makes it, one user at a time has it whatever
/// the size, and it is made anew if the last user left it broken.
pub(crate) struct BareMutex;

pub(crate) struct Shared<B: Backend> {
    handle: Arc<Mutex<Option<B::Handle>>>,
    backend: Arc<B>,
}

impl Contender for BareMutex {
    const TITLE: &'static str = "Mutex around one";
    const PACKAGE: Option<&'static str> = None;

    type Pool<B: Backend> = Shared<B>;
    type Guard<B: Backend> = OwnedMutexGuard<Option<B::Handle>>;
    type Error<B: Backend> = Refused;

    fn lends(_size: usize) -> usize {
        1
    }

    async fn build<B: Backend>(backend: Arc<B>, _settings: &Settings) -> Shared<B> {
        Shared { handle: Arc::default(), backend }
    }

    async fn get<B: Backend>(pool: &Shared<B>) -> Result<Self::Guard<B>, Refused> {
        let mut guard = Arc::clone(&pool.handle).lock_owned().await;
        guard.take_if(|handle| pool.backend.is_broken(handle));
        if guard.is_none() {
            *guard = Some(pool.backend.create().await?);
        }
        Ok(guard)
    }

    async fn id<B: Backend>(guard: &mut Self::Guard<B>) -> u64 {
        B::id(guard.as_ref().expect("it is made before the guard is given out"))
    }
}
