use std::future::Future;
use std::sync::Arc;

use ::mobc::{Connection, Manager, Pool, async_trait};

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, NotOffered, Settings};

/// Keeps all handles that are returned; its default keeps 2.
pub(crate) struct Mobc;

pub(crate) struct Adapter<B>(Arc<B>);

#[async_trait]
impl<B: Backend> Manager for Adapter<B> {
    type Connection = B::Handle;
    type Error = Refused;

    async fn connect(&self) -> Result<B::Handle, Refused> {
        self.0.create().await
    }

    async fn check(&self, handle: B::Handle) -> Result<B::Handle, Refused> {
        self.0.validate(&handle).await?;
        Ok(handle)
    }

    fn validate(&self, handle: &mut B::Handle) -> bool {
        !self.0.is_broken(handle)
    }
}

impl Contender for Mobc {
    const TITLE: &'static str = "mobc";
    const PACKAGE: Option<&'static str> = Some("mobc");

    type Pool<B: Backend> = Pool<Adapter<B>>;
    type Guard<B: Backend> = Connection<Adapter<B>>;
    type Error<B: Backend> = ::mobc::Error<Refused>;

    async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Pool<Adapter<B>> {
        let size = settings.size as u64;
        Pool::builder()
            .max_open(size)
            .max_idle(size)
            .test_on_check_out(settings.validates)
            .get_timeout(Some(settings.timeout))
            .build(Adapter(backend))
    }

    fn get<B: Backend>(
        pool: &Pool<Adapter<B>>,
    ) -> impl Future<Output = Result<Self::Guard<B>, Self::Error<B>>> + Send {
        pool.get()
    }

    async fn id<B: Backend>(guard: &mut Self::Guard<B>) -> u64 {
        B::id(guard)
    }

    async fn resize<B: Backend>(pool: &Pool<Adapter<B>>, size: usize) -> Result<(), NotOffered> {
        pool.set_max_open_conns(size as u64).await;
        Ok(())
    }
}
