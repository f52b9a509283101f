use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, NotOffered, Settings};

/// Deprecated since 1.1.2 in favour of [`Asyncband`], but still in use. It has no timeouts; its docs put one around
/// each get.
pub(crate) struct Fastpool;

/// The successor of [`Fastpool`]: the pool of asyncband 0.7.
pub(crate) struct Asyncband;

/// A pool and the timeout around its gets.
pub(crate) struct Timed<P> {
    pool: Arc<P>,
    timeout: Duration,
}

macro_rules! contender {
    ($name:ident, $title:literal, $package:literal, $($module:ident)::+) => {
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

            impl Contender for $name {
                const TITLE: &'static str = $title;
                const PACKAGE: Option<&'static str> = Some($package);

                type Pool<B: Backend> = Timed<Pool<Adapter<B>>>;
                type Guard<B: Backend> = Object<Adapter<B>>;
                type Error<B: Backend> = Refused;

                async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Self::Pool<B> {
                    let adapter = Adapter { backend, validates: settings.validates };
                    Timed { pool: Pool::new(PoolConfig::new(settings.size), adapter), timeout: settings.timeout }
                }

                async fn get<B: Backend>(pool: &Self::Pool<B>) -> Result<Self::Guard<B>, Refused> {
                    timeout(pool.timeout, pool.pool.get()).await.map_err(Refused::by)?
                }

                async fn id<B: Backend>(guard: &mut Self::Guard<B>) -> u64 {
                    B::id(guard)
                }

                fn retain<B: Backend>(
                    pool: &Self::Pool<B>,
                    mut predicate: impl FnMut(&B::Handle) -> bool,
                ) -> Result<(), NotOffered> {
                    drop(pool.pool.retain(|handle, _status| predicate(handle)).removed);
                    Ok(())
                }
            }
        };
    };
}

contender!(Fastpool, "fastpool (deprecated)", "fastpool", fastpool);
contender!(Asyncband, "asyncband", "asyncband", asyncband::pool);
