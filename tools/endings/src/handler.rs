//! What is done around every handler, and handlers that more than one ending has.

use std::thread;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use reqscope::Guard;
use reqscope_hyper::LeaseBody;

use crate::body::{Answer, Watched, answer, answer_with, chunks};
use crate::event::{Event, Log};
use crate::scene::{Call, Scene};
use crate::{BoxError, BoxFuture};

pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Answer>;

pub(crate) const ROW: Bytes = Bytes::from_static(b"a row");

/// Runs a handler, and says how it ended; so does the body of its response.
pub(crate) fn watched(
    handler: Handler,
    call: Call,
) -> impl Future<Output = Result<Response<Watched>, BoxError>> + Send + 'static {
    let log = call.scene.log.clone();
    let mut end = End { log, event: None };
    let handler = handler(call);
    async move {
        let answer = handler.await;
        end.event = Some(if answer.is_ok() { Event::Returned } else { Event::Erred });
        let log = end.log.clone();
        Ok(answer?.map(|body| Watched::new(body, log)))
    }
}

struct End {
    log: Log,
    event: Option<Event>,
}

impl Drop for End {
    fn drop(&mut self) {
        let event = self.event.unwrap_or(if thread::panicking() { Event::Unwound } else { Event::Dropped });
        self.log.add(event);
    }
}

/// Uses the handle and answers with this status.
pub(crate) async fn uses(call: Call, status: u16) -> Answer {
    call.lazy.get().await?.operate().await?;
    answer(status, "done")
}

/// Holds the handle until the client lets it go on. The request's body stays unread, and alive.
pub(crate) async fn holds(call: Call) -> Answer {
    let handle = call.lazy.get().await?;
    call.scene.wait().await?;
    drop((handle, call.request));
    answer(200, "done")
}

/// Answers with a body that owns the handle.
pub(crate) async fn owns<B>(call: Call, status: u16, body: B) -> Answer
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let lease = Guard::detach(call.lazy.get().await?);
    answer_with(status, LeaseBody::new(body, lease))
}

/// A body whose first row comes at once. Each other is made by `more` when the client opens the gate, without an end.
pub(crate) fn rows(
    scene: Scene,
    more: fn() -> Result<Bytes, BoxError>,
) -> impl Body<Data = Bytes, Error = BoxError> + Send + 'static {
    chunks(move |number| {
        let scene = scene.clone();
        async move {
            if number == 0 {
                return Ok(Some(ROW));
            }
            scene.wait().await?;
            more().map(Some)
        }
    })
}

/// Streams so many chunks out of a lease: the first at once, each other when the client opens the gate.
pub(crate) async fn streams(call: Call, chunks: usize) -> Answer {
    let lease = Guard::detach(call.lazy.get().await?);
    let (scene, mut number) = (call.scene, 0);
    let body = LeaseBody::from_fn(lease, move |mut lease| {
        let scene = scene.clone();
        let this = number;
        number += 1;
        async move {
            if this == chunks {
                return Ok::<_, BoxError>((lease, None));
            }
            if this > 0 {
                scene.wait().await?;
            }
            lease.operate().await?;
            Ok((lease, Some(ROW)))
        }
    });
    answer_with(200, body)
}
