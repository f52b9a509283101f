//! What the server does on each of the storm's paths.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result, bail};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode};
use reqscope::{Guard, Lazy, Lease, Resource};
use tokio::try_join;

use crate::options::{Fault, Server};
use crate::server::accounting::Count;
use crate::server::pause::pause;
use crate::server::stage::{Progress, Stage};
use crate::server::tracked::Watched;
use crate::store::{Single, Store, Tags, Transaction};

pub(crate) type Body = UnsyncBoxBody<Bytes, Error>;

const CHUNKS: usize = 8;
const CHUNK: [u8; 16 * 1024] = [b'.'; 16 * 1024];
const AFTER_A_CHUNK: Duration = Duration::from_millis(2);

/// How many guards are forgotten at most. A pool that has lost all its slots would end the storm in time-outs.
const FORGOTTEN: u64 = 5;

/// What a request may take, of which it takes nothing before it asks.
pub(crate) struct Cells<S: Store> {
    pub(crate) single: Lazy<Single<S>>,
    pub(crate) transaction: Lazy<Transaction<S>>,
}

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

    /// Answers a request that has a scope, in which these are its cells.
    pub(crate) async fn answer(&self, path: &str, cells: Cells<S>, progress: Progress) -> Response<Body> {
        progress.enter(Stage::BeforeFirstUse);
        pause(self.settings.pre_ms).await;
        let outcome = match path {
            "/use" => self.once(&cells, &progress).await.map(ok),
            "/tx" => self.transaction(&cells, &progress).await.map(|tag| ok(tag.to_string())),
            "/both" => self.both(&cells, &progress).await.map(ok),
            "/late" => Ok(ok(self.late(cells, &progress).await)),
            "/none" => Ok(ok("none")),
            "/stream" => match acquire(&cells.single, &progress).await {
                // The body outlives the scope, so it takes the handle along.
                Ok(guard) => return Response::new(stream(Guard::detach(guard), progress)),
                Err(error) => Err(error),
            },
            _ => Ok(respond(StatusCode::NOT_FOUND, "no such path")),
        };
        let response = outcome.unwrap_or_else(|error| {
            progress.books().heard(error.chain());
            respond(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
        });
        progress.done(response.status().is_success());
        response
    }

    async fn once(&self, cells: &Cells<S>, progress: &Progress) -> Result<&'static str> {
        let guard = self.hold(cells, progress).await?;
        match self.settings.r#break {
            Some(Fault::Leak) if now_and_then() && self.forgotten.add() < FORGOTTEN => std::mem::forget(guard),
            Some(Fault::Double) if now_and_then() => guard.badge().release_by_hand(),
            _ => (),
        }
        Ok("used")
    }

    /// Two uses at the same time, of what must be one handle.
    async fn both(&self, cells: &Cells<S>, progress: &Progress) -> Result<&'static str> {
        let hold = async || self.hold(cells, progress).await.map(drop);
        try_join!(hold(), hold())?;
        Ok("used twice")
    }

    /// Has its handle for a while, and then uses it.
    async fn hold(&self, cells: &Cells<S>, progress: &Progress) -> Result<Guard<Single<S>>> {
        let mut guard = acquire(&cells.single, progress).await?;
        pause(self.settings.work_ms).await;
        guard.using().read().await?;
        Ok(guard)
    }

    /// Leaves a tag, and looks after a while whether it is still there. The scope commits.
    async fn transaction(&self, cells: &Cells<S>, progress: &Progress) -> Result<u32> {
        match self.settings.r#break {
            Some(Fault::Cross) => self.tag(&cells.single, progress).await,
            _ => self.tag(&cells.transaction, progress).await,
        }
    }

    async fn tag<R, const ROLE: u8>(&self, lazy: &Lazy<Watched<R, ROLE>>, progress: &Progress) -> Result<u32>
    where
        R: Resource<Handle: Tags>,
    {
        let mut guard = acquire(lazy, progress).await?;
        progress.enter(Stage::Transaction);
        let tag = fastrand::u32(..);
        guard.using().write(tag).await?;
        pause(self.settings.work_ms).await;
        if guard.using().read().await? != tag {
            progress.books().crossed.add();
            bail!("the tag is another request's");
        }
        Ok(tag)
    }

    /// The request may be over before the task has its handle: then it gets none.
    async fn late(&self, cells: Cells<S>, progress: &Progress) -> &'static str {
        let work = self.settings.work_ms;
        let books = Arc::clone(progress.books());
        tokio::spawn(async move {
            pause(work).await;
            let Ok(mut guard) = cells.single.get().await else { return };
            if let Err(error) = guard.using().read().await {
                books.heard(error.chain());
            }
        });
        pause(work).await;
        "a task uses it"
    }
}

async fn acquire<R: Resource, const ROLE: u8>(
    lazy: &Lazy<Watched<R, ROLE>>,
    progress: &Progress,
) -> Result<Guard<Watched<R, ROLE>>> {
    progress.enter(Stage::Acquiring);
    let mut guard = lazy.get().await?;
    guard.lent_to(progress.ending());
    progress.enter(Stage::Holding);
    Ok(guard)
}

/// One use before each chunk. A body that is dropped before its end drops the lease, and so cancels it.
///
/// A client hangs up when it has its chunk. After every other one the next use begins at once, and is cut in the middle.
fn stream<R, const ROLE: u8>(lease: Lease<Watched<R, ROLE>>, progress: Progress) -> Body
where
    R: Resource<Handle: Tags>,
{
    progress.enter(Stage::Body);
    let chunks = futures_util::stream::try_unfold((lease, progress, 0), |(mut lease, progress, sent)| async move {
        if sent % 2 == 1 {
            tokio::time::sleep(AFTER_A_CHUNK).await;
        }
        if sent == CHUNKS {
            progress.done(true);
            Lease::complete(lease).await?;
            return Ok(None);
        }
        if let Err(error) = lease.using().read().await {
            progress.books().heard(error.chain());
            progress.done(false);
            return Err(error);
        }
        Ok(Some((Frame::data(Bytes::from_static(&CHUNK)), (lease, progress, sent + 1))))
    });
    StreamBody::new(chunks).boxed_unsync()
}

fn ok(said: impl Into<Bytes>) -> Response<Body> {
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
