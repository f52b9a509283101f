use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, NotOffered, Settings};

/// Deprecated since 1.1.2 in favour of [`Asyncband`], but still in use. It has no timeouts.
pub(crate) struct Fastpool;

/// With a timeout around each get, as in its docs.
pub(crate) struct FastpoolTimeout;

/// The successor of [`Fastpool`]: the pool of asyncband 0.7.
pub(crate) struct Asyncband;

/// With a timeout around each get, as in its docs.
pub(crate) struct AsyncbandTimeout;

/// A pool and the timeout around its gets.
pub(crate) struct Timed<P> {
    pool: Arc<P>,
    timeout: Duration,
}

macro_rules! contenders {
    ($name:ident, $title:literal, $timed:ident, $timed_title:literal, $package:literal, $($module:ident)::+) => {
        #[allow(deprecated, reason = "one of the two is")]
        const _: () = {
            use ::$($module)::+::bounded::{Object, Pool, PoolConfig};
            use ::$($module)::+::{ManageObject, ObjectStatus};

            pub(crate) struct Adapter<B> {
                backend: Arc<B>,
                validates: bool,
            }

            impl<B: Backend> ManageObject for Adapter<B> {
                type Object = B::Handle;
                type Error = Refused;

                async fn create(&self) -> Result<B::Handle, Refused> {
                    self.backend.create().await
                }

                async fn is_recyclable(&self, handle: &mut B::Handle, _status: &ObjectStatus) -> Result<(), Refused> {
                    if self.backend.is_broken(handle) {
                        return Err(Refused("it is broken".to_owned()));
                    }
                    if self.validates { self.backend.validate(handle).await } else { Ok(()) }
                }
            }

            fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Arc<Pool<Adapter<B>>> {
                Pool::new(PoolConfig::new(settings.size), Adapter { backend, validates: settings.validates })
            }

            fn retain<B: Backend>(pool: &Pool<Adapter<B>>, mut predicate: impl FnMut(&B::Handle) -> bool) {
                drop(pool.retain(|handle, _status| predicate(handle)).removed);
            }

            impl Contender for $name {
                const TITLE: &'static str = $title;
                const PACKAGE: Option<&'static str> = Some($package);

                type Pool<B: Backend> = Arc<Pool<Adapter<B>>>;
                type Guard<B: Backend> = Object<Adapter<B>>;
                type Error<B: Backend> = Refused;

                async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Self::Pool<B> {
                    build(backend, settings)
                }

                fn get<B: Backend>(
                    pool: &Self::Pool<B>,
                ) -> impl Future<Output = Result<Self::Guard<B>, Refused>> + Send {
                    pool.get()
                }

                async fn id<B: Backend>(guard: &mut Self::Guard<B>) -> u64 {
                    B::id(guard)
                }

                fn retain<B: Backend>(
                    pool: &Self::Pool<B>,
                    predicate: impl FnMut(&B::Handle) -> bool,
                ) -> Result<(), NotOffered> {
                    retain(pool, predicate);
                    Ok(())
                }
            }

            impl Contender for $timed {
                const TITLE: &'static str = $timed_title;
                const PACKAGE: Option<&'static str> = Some($package);

                type Pool<B: Backend> = Timed<Pool<Adapter<B>>>;
                type Guard<B: Backend> = Object<Adapter<B>>;
                type Error<B: Backend> = Refused;

                async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Self::Pool<B> {
                    Timed { pool: build(backend, settings), timeout: settings.timeout }
                }

                async fn get<B: Backend>(pool: &Self::Pool<B>) -> Result<Self::Guard<B>, Refused> {
                    timeout(pool.timeout, pool.pool.get()).await.map_err(Refused::by)?
                }

                async fn id<B: Backend>(guard: &mut Self::Guard<B>) -> u64 {
                    B::id(guard)
                }

                fn retain<B: Backend>(
                    pool: &Self::Pool<B>,
                    predicate: impl FnMut(&B::Handle) -> bool,
                ) -> Result<(), NotOffered> {
                    retain(&pool.pool, predicate);
                    Ok(())
                }
            }
        };
    };
}

contenders!(Fastpool, "fastpool (deprecated)", FastpoolTimeout, "fastpool in a timeout", "fastpool", fastpool);
contenders!(Asyncband, "asyncband", AsyncbandTimeout, "asyncband in a timeout", "asyncband", asyncband::pool);
