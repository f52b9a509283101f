use std::future::Future;
use std::sync::Arc;

use ::bb8::{ManageConnection, Pool, PooledConnection, RunError};

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, Settings};

pub(crate) struct Bb8;

pub(crate) struct Adapter<B>(Arc<B>);

impl<B: Backend> ManageConnection for Adapter<B> {
    type Connection = B::Handle;
    type Error = Refused;

    async fn connect(&self) -> Result<B::Handle, Refused> {
        self.0.create().await
    }

    async fn is_valid(&self, handle: &mut B::Handle) -> Result<(), Refused> {
        self.0.validate(handle).await
    }

    fn has_broken(&self, handle: &mut B::Handle) -> bool {
        self.0.is_broken(handle)
    }
}

impl Contender for Bb8 {
    const TITLE: &'static str = "bb8";
    const PACKAGE: Option<&'static str> = Some("bb8");

    type Pool<B: Backend> = Pool<Adapter<B>>;
    type Guard<B: Backend> = PooledConnection<'static, Adapter<B>>;
    type Error<B: Backend> = RunError<Refused>;

    async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Pool<Adapter<B>> {
        let [size, min_idle] = [settings.size, settings.min_idle].map(|n| u32::try_from(n).expect("it is small"));
        Pool::builder()
            .max_size(size)
            .min_idle(min_idle)
            .test_on_check_out(settings.validates)
            .connection_timeout(settings.timeout)
            .build(Adapter(backend))
            .await
            .expect("its first handles can be made")
    }

    fn get<B: Backend>(
        pool: &Pool<Adapter<B>>,
    ) -> impl Future<Output = Result<Self::Guard<B>, Self::Error<B>>> + Send {
        pool.get_owned()
    }

    async fn id<B: Backend>(guard: &mut Self::Guard<B>) -> u64 {
        B::id(guard)
    }
}
