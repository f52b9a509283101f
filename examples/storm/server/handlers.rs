//! The handlers of the storm's paths.
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

use crate::options::{Fault, ServerOptions};
use crate::server::accounting::Count;
use crate::server::pause::pause;
use crate::server::progress::Progress;
use crate::server::stage::Stage;
use crate::server::tracked::Tracked;
use crate::store::{Single, Store, Tags, Transaction};

pub(crate) type Body = UnsyncBoxBody<Bytes, Error>;

const CHUNKS: usize = 8;
const CHUNK: [u8; 16 * 1024] = [b'.'; 16 * 1024];
const AFTER_A_CHUNK: Duration = Duration::from_millis(2);

/// The most guards that are forgotten. A pool without any slot left would end the storm in timeouts.
const FORGOTTEN: u64 = 5;

/// The lazy cells of a request.
pub(crate) struct Cells<S: Store> {
    pub(crate) single: Lazy<Single<S>>,
    pub(crate) transaction: Lazy<Transaction<S>>,
}

/// The handlers of one server.
pub(crate) struct Handlers<S> {
    pub(crate) store: S,
    pub(crate) settings: ServerOptions,
    forgotten: Count,
}

impl<S: Store> Handlers<S> {
    pub(crate) fn new(store: S, settings: ServerOptions) -> Self {
        Handlers { store, settings, forgotten: Count::default() }
    }

    /// Answers a request whose scope has these cells.
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
                // The body outlives the scope, so the handle is detached.
                Ok(guard) => return Response::new(stream(Guard::detach(guard), progress)),
                Err(error) => Err(error),
            },
            _ => Ok(respond(StatusCode::NOT_FOUND, "no such path")),
        };
        let response = outcome.unwrap_or_else(|error| {
            progress.counters().record(error.chain());
            respond(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
        });
        progress.done(response.status().is_success());
        response
    }

    /// Uses its handle once, and makes the mistakes that `--break` names.
    async fn once(&self, cells: &Cells<S>, progress: &Progress) -> Result<&'static str> {
        let guard = self.hold(cells, progress).await?;
        match self.settings.r#break {
            Some(Fault::Leak) if now_and_then() && self.forgotten.add() < FORGOTTEN => std::mem::forget(guard),
            Some(Fault::Double) if now_and_then() => guard.tracker().release_by_hand(),
            _ => (),
        }
        Ok("used")
    }

    /// Uses its handle twice at the same time. Both uses must get the same handle.
    async fn both(&self, cells: &Cells<S>, progress: &Progress) -> Result<&'static str> {
        let hold = async || self.hold(cells, progress).await.map(drop);
        try_join!(hold(), hold())?;
        Ok("used twice")
    }

    /// Holds its handle for a while, and then uses it.
    async fn hold(&self, cells: &Cells<S>, progress: &Progress) -> Result<Guard<Single<S>>> {
        let mut guard = acquire(&cells.single, progress).await?;
        pause(self.settings.work_ms).await;
        guard.using().read().await?;
        Ok(guard)
    }

    /// Writes a tag and reads it back after a while. The scope commits.
    async fn transaction(&self, cells: &Cells<S>, progress: &Progress) -> Result<u32> {
        match self.settings.r#break {
            Some(Fault::Cross) => self.tag(&cells.single, progress).await,
            _ => self.tag(&cells.transaction, progress).await,
        }
    }

    async fn tag<R, const ROLE: u8>(&self, lazy: &Lazy<Tracked<R, ROLE>>, progress: &Progress) -> Result<u32>
    where
        R: Resource<Handle: Tags>,
    {
        let mut guard = acquire(lazy, progress).await?;
        progress.enter(Stage::Transaction);
        let tag = fastrand::u32(..);
        guard.using().write(tag).await?;
        pause(self.settings.work_ms).await;
        if guard.using().read().await? != tag {
            progress.counters().crossed.add();
            bail!("the tag is another request's");
        }
        Ok(tag)
    }

    /// Spawns a task that uses the handle. It gets none if the request ends before.
    async fn late(&self, cells: Cells<S>, progress: &Progress) -> &'static str {
        let work = self.settings.work_ms;
        let counters = Arc::clone(progress.counters());
        tokio::spawn(async move {
            pause(work).await;
            let Ok(mut guard) = cells.single.get().await else { return };
            if let Err(error) = guard.using().read().await {
                counters.record(error.chain());
            }
        });
        pause(work).await;
        "a task uses it"
    }
}

async fn acquire<R: Resource, const ROLE: u8>(
    lazy: &Lazy<Tracked<R, ROLE>>,
    progress: &Progress,
) -> Result<Guard<Tracked<R, ROLE>>> {
    progress.enter(Stage::Acquiring);
    let mut guard = lazy.get().await?;
    guard.lent_to(progress.ending());
    progress.enter(Stage::Holding);
    Ok(guard)
}

/// Returns a body that uses the handle before each chunk. Dropped before its end, it drops the lease, which is
/// cancelled.
///
/// A client hangs up after a chunk. After every other chunk the next use begins at once, so it is cut in the middle.
fn stream<R, const ROLE: u8>(lease: Lease<Tracked<R, ROLE>>, progress: Progress) -> Body
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
            progress.counters().record(error.chain());
            progress.done(false);
            return Err(error);
        }
        Ok(Some((Frame::data(Bytes::from_static(&CHUNK)), (lease, progress, sent + 1))))
    });
    StreamBody::new(chunks).boxed_unsync()
}

fn ok(text: impl Into<Bytes>) -> Response<Body> {
    respond(StatusCode::OK, text)
}

pub(crate) fn respond(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Returns `true` once in ten times.
fn now_and_then() -> bool {
    fastrand::u8(..10) == 0
}
