use std::future::Future;
use std::sync::Arc;

use ::deadpool::Runtime;
use ::deadpool::managed::{
    self, Manager, Metrics, Object, Pool, PoolConfig, PoolError, RecycleError, RecycleResult, Timeouts,
};

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, NotOffered, Settings};

/// Without timeouts, as its examples build it.
pub(crate) struct Deadpool;

/// With its timeouts for waiting, creating and recycling.
pub(crate) struct DeadpoolTimeouts;

pub(crate) struct Adapter<B>(Arc<B>);

impl<B: Backend> Manager for Adapter<B> {
    type Type = B::Handle;
    type Error = Refused;

    async fn create(&self) -> Result<B::Handle, Refused> {
        self.0.create().await
    }

    async fn recycle(&self, handle: &mut B::Handle, _metrics: &Metrics) -> RecycleResult<Refused> {
        if self.0.is_broken(handle) {
            return Err(RecycleError::message("it is broken"));
        }
        self.0.validate(handle).await.map_err(RecycleError::Backend)
    }
}

fn build<B: Backend>(backend: Arc<B>, settings: &Settings, timeouts: Timeouts) -> Pool<Adapter<B>> {
    let config = PoolConfig { timeouts, ..PoolConfig::new(settings.size) };
    let builder = Pool::builder(Adapter(backend)).config(config).runtime(Runtime::Tokio1);
    builder.build().expect("the runtime is named")
}

macro_rules! contender {
    ($name:ty, $title:literal, $timeouts:expr) => {
        impl Contender for $name {
            const TITLE: &'static str = $title;
            const PACKAGE: Option<&'static str> = Some("deadpool");

            type Pool<B: Backend> = Pool<Adapter<B>>;
            type Guard<B: Backend> = Object<Adapter<B>>;
            type Error<B: Backend> = PoolError<Refused>;

            async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Pool<Adapter<B>> {
                build(backend, settings, $timeouts(settings))
            }

            fn get<B: Backend>(
                pool: &Pool<Adapter<B>>,
            ) -> impl Future<Output = Result<Object<Adapter<B>>, Self::Error<B>>> + Send {
                pool.get()
            }

            async fn id<B: Backend>(guard: &mut Object<Adapter<B>>) -> u64 {
                B::id(guard)
            }

            async fn resize<B: Backend>(pool: &Pool<Adapter<B>>, size: usize) -> Result<(), NotOffered> {
                pool.resize(size);
                Ok(())
            }

            fn retain<B: Backend>(
                pool: &Pool<Adapter<B>>,
                mut predicate: impl FnMut(&B::Handle) -> bool,
            ) -> Result<(), NotOffered> {
                pool.retain(|handle, _metrics| predicate(handle));
                Ok(())
            }
        }
    };
}

contender!(Deadpool, "deadpool", |_: &Settings| Timeouts::default());
contender!(DeadpoolTimeouts, "deadpool with timeouts", |settings: &Settings| {
    let timeout = Some(settings.timeout);
    managed::Timeouts { wait: timeout, create: timeout, recycle: timeout }
});
