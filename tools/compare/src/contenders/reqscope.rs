use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Exit, Health, Pool, Pooled, Resource};

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, NotOffered, Settings};

/// Without its bound on waiters, which no other contender has.
pub(crate) struct Reqscope;

/// The backend as a resource.
pub(crate) struct Adapter<B>(Arc<B>);

impl<B: Backend> Resource for Adapter<B> {
    type Handle = B::Handle;
    type Cause = Refused;

    async fn acquire(&self) -> Result<B::Handle, Error<Refused>> {
        self.0.create().await.map_err(Error::failed)
    }

    async fn validate(&self, handle: &mut B::Handle) -> Result<(), Error<Refused>> {
        self.0.validate(handle).await.map_err(Error::failed)
    }

    fn probe(&self, handle: &B::Handle) -> Health {
        // What the probe does not see is validated at each check-out, if `validates` is set.
        if self.0.is_broken(handle) { Health::Dead } else { Health::Ready }
    }

    async fn release(&self, handle: B::Handle, _exit: Exit) -> Result<(), Error<Refused>> {
        self.0.release(handle).await;
        Ok(())
    }
}

impl Contender for Reqscope {
    const TITLE: &'static str = "reqscope";
    const PACKAGE: Option<&'static str> = Some("reqscope");

    type Pool<B: Backend> = Pool<Adapter<B>>;
    type Guard<B: Backend> = Pooled<Adapter<B>>;
    type Error<B: Backend> = Error<Refused>;

    async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Pool<Adapter<B>> {
        let builder = Pool::builder()
            .max_size(settings.size)
            .min_idle(settings.min_idle)
            .max_waiters(usize::MAX)
            .acquire_timeout(settings.timeout)
            .create_timeout(settings.timeout)
            .validate_timeout(settings.timeout)
            .release_timeout(settings.timeout);
        let builder = if settings.validates { builder.validate_after(Duration::ZERO) } else { builder };
        builder.build(Adapter(backend))
    }

    fn get<B: Backend>(
        pool: &Pool<Adapter<B>>,
    ) -> impl Future<Output = Result<Pooled<Adapter<B>>, Self::Error<B>>> + Send {
        pool.get()
    }

    fn put<B: Backend>(pool: &Pool<Adapter<B>>, guard: Pooled<Adapter<B>>) {
        pool.put(guard);
    }

    async fn id<B: Backend>(guard: &mut Pooled<Adapter<B>>) -> u64 {
        B::id(guard)
    }

    async fn resize<B: Backend>(pool: &Pool<Adapter<B>>, size: usize) -> Result<(), NotOffered> {
        pool.resize(size);
        Ok(())
    }

    fn retain<B: Backend>(
        pool: &Pool<Adapter<B>>,
        predicate: impl FnMut(&B::Handle) -> bool,
    ) -> Result<(), NotOffered> {
        pool.retain(predicate);
        Ok(())
    }
}
