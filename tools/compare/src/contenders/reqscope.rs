use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Exit, Health, Pool, Pooled, Resource};

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, NotOffered, Settings};

/// Without a bound on waiters, which no other contender has. Its handles have a probe, and users return them with
/// [`Pool::put`].
pub(crate) struct Reqscope;

/// With the default probe, which knows nothing, and users that drop their handles, as in a program that was ported from
/// another pool.
pub(crate) struct Bare;

/// The backend as a resource.
pub(crate) struct Adapter<B>(Arc<B>);

/// The backend as a resource that only a validation can look at.
pub(crate) struct BareAdapter<B>(Arc<B>);

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

impl<B: Backend> Resource for BareAdapter<B> {
    type Handle = B::Handle;
    type Cause = Refused;

    async fn acquire(&self) -> Result<B::Handle, Error<Refused>> {
        self.0.create().await.map_err(Error::failed)
    }

    async fn validate(&self, handle: &mut B::Handle) -> Result<(), Error<Refused>> {
        if self.0.is_broken(handle) {
            return Err(Error::failed(Refused("it is broken".to_owned())));
        }
        self.0.validate(handle).await.map_err(Error::failed)
    }

    async fn release(&self, handle: B::Handle, _exit: Exit) -> Result<(), Error<Refused>> {
        self.0.release(handle).await;
        Ok(())
    }
}

fn build<R: Resource>(resource: R, settings: &Settings) -> Pool<R> {
    let builder = Pool::builder()
        .max_size(settings.size)
        .min_idle(settings.min_idle)
        .max_waiters(usize::MAX)
        .acquire_timeout(settings.timeout)
        .create_timeout(settings.timeout)
        .validate_timeout(settings.timeout)
        .release_timeout(settings.timeout);
    let builder = if settings.validates { builder.validate_after(Duration::ZERO) } else { builder };
    builder.build(resource)
}

macro_rules! contender {
    ($name:ty, $title:literal, $adapter:ident, $put:expr) => {
        impl Contender for $name {
            const TITLE: &'static str = $title;
            const PACKAGE: Option<&'static str> = Some("reqscope");

            type Pool<B: Backend> = Pool<$adapter<B>>;
            type Guard<B: Backend> = Pooled<$adapter<B>>;
            type Error<B: Backend> = Error<Refused>;

            async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Pool<$adapter<B>> {
                build($adapter(backend), settings)
            }

            fn get<B: Backend>(
                pool: &Pool<$adapter<B>>,
            ) -> impl Future<Output = Result<Pooled<$adapter<B>>, Self::Error<B>>> + Send {
                pool.get()
            }

            fn put<B: Backend>(pool: &Pool<$adapter<B>>, guard: Pooled<$adapter<B>>) {
                $put(pool, guard);
            }

            async fn id<B: Backend>(guard: &mut Pooled<$adapter<B>>) -> u64 {
                B::id(guard)
            }

            async fn resize<B: Backend>(pool: &Pool<$adapter<B>>, size: usize) -> Result<(), NotOffered> {
                pool.resize(size);
                Ok(())
            }

            fn retain<B: Backend>(
                pool: &Pool<$adapter<B>>,
                predicate: impl FnMut(&B::Handle) -> bool,
            ) -> Result<(), NotOffered> {
                pool.retain(predicate);
                Ok(())
            }
        }
    };
}

contender!(Reqscope, "reqscope", Adapter, Pool::put);
contender!(Bare, "reqscope, default probe, dropped", BareAdapter, |_, guard| drop(guard));
