use std::sync::Arc;

use ::r2d2::{ManageConnection, NopErrorHandler, Pool, PooledConnection};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, Settings};

/// It blocks its callers. An async caller tries to get an idle handle at once, and otherwise waits for one on a
/// blocking thread; with validation always there, because a validation blocks as well. It creates handles on threads of
/// its own, and here only on demand; its default fills the pool at the start.
pub(crate) struct R2d2;

pub(crate) struct Adapter<B> {
    backend: Arc<B>,
    runtime: Handle,
}

pub(crate) struct Blocking<B: Backend> {
    pool: Pool<Adapter<B>>,
    validates: bool,
}

impl<B: Backend> ManageConnection for Adapter<B> {
    type Connection = B::Handle;
    type Error = Refused;

    fn connect(&self) -> Result<B::Handle, Refused> {
        self.runtime.block_on(self.backend.create())
    }

    fn is_valid(&self, handle: &mut B::Handle) -> Result<(), Refused> {
        self.runtime.block_on(self.backend.validate(handle))
    }

    fn has_broken(&self, handle: &mut B::Handle) -> bool {
        self.backend.is_broken(handle)
    }
}

impl Contender for R2d2 {
    const TITLE: &'static str = "r2d2 (blocking)";
    const PACKAGE: Option<&'static str> = Some("r2d2");

    type Pool<B: Backend> = Blocking<B>;
    type Guard<B: Backend> = PooledConnection<Adapter<B>>;
    type Error<B: Backend> = Refused;

    async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Blocking<B> {
        let [size, min_idle] = [settings.size, settings.min_idle].map(|n| u32::try_from(n).expect("it is small"));
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(Some(min_idle))
            .test_on_check_out(settings.validates)
            .connection_timeout(settings.timeout)
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(Adapter { backend, runtime: Handle::current() });
        Blocking { pool, validates: settings.validates }
    }

    async fn get<B: Backend>(pool: &Blocking<B>) -> Result<Self::Guard<B>, Refused> {
        if let Some(guard) = (!pool.validates).then(|| pool.pool.try_get()).flatten() {
            return Ok(guard);
        }
        let pool = pool.pool.clone();
        spawn_blocking(move || pool.get()).await.map_err(Refused::by)?.map_err(Refused::by)
    }

    async fn id<B: Backend>(guard: &mut Self::Guard<B>) -> u64 {
        B::id(guard)
    }
}
