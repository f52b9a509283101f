//! What the server does on each of the storm's paths.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result, bail};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode};
use reqscope::{Guard, Lazy, Lease, Resource, ScopeHandle};
use tokio::try_join;

use crate::ledger::Count;
use crate::options::{Fault, Server};
use crate::pause::pause;
use crate::stage::{Progress, Stage};
use crate::store::{Store, Tags};
use crate::watched::Watched;

pub(crate) type Body = UnsyncBoxBody<Bytes, Error>;

const CHUNKS: usize = 8;
const CHUNK: [u8; 16 * 1024] = [b'.'; 16 * 1024];
const AFTER_A_CHUNK: Duration = Duration::from_millis(2);

/// How many guards are forgotten at most. A pool that has lost all its slots would end the storm in time-outs.
const FORGOTTEN: u64 = 5;

/// The handlers of one server.
pub(crate) struct Handlers<S> {
    pub(crate) store: S,
    pub(crate) settings: Server,
    forgotten: Count,
}

impl<S: Store> Handlers<S> {
    pub(crate) fn new(store: S, settings: Server) -> Self {
        Handlers { store, settings, forgotten: Count::default() }
    }

    /// Answers a request that has a scope.
    pub(crate) async fn answer(&self, path: &str, scope: &ScopeHandle, progress: Progress) -> Response<Body> {
        progress.enter(Stage::BeforeFirstUse);
        pause(self.settings.pre_ms).await;
        let outcome = match path {
            "/use" => self.once(scope, &progress).await.map(ok),
            "/tx" => self.transaction(scope, &progress).await.map(ok),
            "/both" => self.both(scope, &progress).await.map(ok),
            "/late" => Ok(ok(self.late(scope, &progress).await)),
            "/none" => Ok(ok("none")),
            "/stream" => match self.begin_stream(scope, &progress).await {
                Ok(lease) => return Response::new(stream(lease, progress)),
                Err(error) => Err(error),
            },
            _ => Ok(respond(StatusCode::NOT_FOUND, "no such path")),
        };
        let books = Arc::clone(progress.books());
        progress.done();
        outcome.unwrap_or_else(|error| {
            books.heard(error.chain());
            respond(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
        })
    }

    async fn once(&self, scope: &ScopeHandle, progress: &Progress) -> Result<&'static str> {
        let guard = self.hold(scope, progress).await?;
        match self.settings.r#break {
            Some(Fault::Leak) if now_and_then() && self.forgotten.add() < FORGOTTEN => std::mem::forget(guard),
            Some(Fault::Double) if now_and_then() => guard.badge().release_by_hand(),
            _ => (),
        }
        Ok("used")
    }

    /// Two uses at the same time, of what must be one handle.
    async fn both(&self, scope: &ScopeHandle, progress: &Progress) -> Result<&'static str> {
        let hold = async || self.hold(scope, progress).await.map(drop);
        try_join!(hold(), hold())?;
        Ok("used twice")
    }

    /// Has its handle for a while, and then uses it.
    async fn hold(&self, scope: &ScopeHandle, progress: &Progress) -> Result<Guard<Watched<S::Single>>> {
        let lazy = scope.lazy(self.store.singles());
        let mut guard = acquire(&lazy, progress).await?;
        pause(self.settings.work_ms).await;
        guard.using().read().await?;
        Ok(guard)
    }

    /// Leaves a tag, and looks after a while whether it is still there. The scope commits.
    async fn transaction(&self, scope: &ScopeHandle, progress: &Progress) -> Result<&'static str> {
        match self.settings.r#break {
            Some(Fault::Cross) => self.tag(scope.lazy(self.store.singles()), progress).await,
            _ => self.tag(scope.lazy(self.store.transactions()), progress).await,
        }
    }

    async fn tag<R>(&self, lazy: Lazy<Watched<R>>, progress: &Progress) -> Result<&'static str>
    where
        R: Resource<Handle: Tags>,
    {
        let mut guard = acquire(&lazy, progress).await?;
        progress.enter(Stage::Transaction);
        let tag = fastrand::u32(..);
        guard.using().write(tag).await?;
        pause(self.settings.work_ms).await;
        if guard.using().read().await? != tag {
            progress.books().crossed.add();
            bail!("the tag is another request's");
        }
        Ok("tagged")
    }

    /// The request may be over before the task has its handle: then it gets none.
    async fn late(&self, scope: &ScopeHandle, progress: &Progress) -> &'static str {
        let lazy = scope.lazy(self.store.singles());
        let work = self.settings.work_ms;
        let books = Arc::clone(progress.books());
        tokio::spawn(async move {
            pause(work).await;
            let Ok(mut guard) = lazy.get().await else { return };
            if let Err(error) = guard.using().read().await {
                books.heard(error.chain());
            }
        });
        pause(work).await;
        "a task uses it"
    }

    /// The body outlives the scope, so it takes the handle along.
    async fn begin_stream(&self, scope: &ScopeHandle, progress: &Progress) -> Result<Lease<Watched<S::Single>>> {
        let lazy = scope.lazy(self.store.singles());
        Ok(Guard::detach(acquire(&lazy, progress).await?))
    }
}

async fn acquire<R: Resource>(lazy: &Lazy<Watched<R>>, progress: &Progress) -> Result<Guard<Watched<R>>> {
    progress.enter(Stage::Acquiring);
    let guard = lazy.get().await?;
    progress.enter(Stage::Holding);
    Ok(guard)
}

/// One use before each chunk. A body that is dropped before its end drops the lease, and so cancels it.
fn stream<R>(lease: Lease<Watched<R>>, progress: Progress) -> Body
where
    R: Resource<Handle: Tags>,
{
    progress.enter(Stage::Body);
    let chunks = futures_util::stream::try_unfold((lease, progress, 0), |(mut lease, progress, sent)| async move {
        if sent > 0 {
            tokio::time::sleep(AFTER_A_CHUNK).await;
        }
        if sent == CHUNKS {
            progress.done();
            Lease::complete(lease).await?;
            return Ok(None);
        }
        if let Err(error) = lease.using().read().await {
            progress.books().heard(error.chain());
            progress.done();
            return Err(error);
        }
        Ok(Some((Frame::data(Bytes::from_static(&CHUNK)), (lease, progress, sent + 1))))
    });
    StreamBody::new(chunks).boxed_unsync()
}

fn ok(said: &'static str) -> Response<Body> {
    respond(StatusCode::OK, said)
}

pub(crate) fn respond(status: StatusCode, said: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(said.into()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn now_and_then() -> bool {
    fastrand::u8(..10) == 0
}
