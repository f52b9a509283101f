//! What is done around every handler, and handlers that more than one ending has.

use std::thread;

use bytes::Bytes;
use http::Response;
use reqscope::Guard;
use reqscope_hyper::LeaseBody;

use crate::body::{Answer, Watched, answer, answer_with};
use crate::event::{Event, Log};
use crate::scene::Call;
use crate::{BoxError, BoxFuture};

pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Answer>;

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

/// Uses the handle and answers.
pub(crate) async fn uses(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    answer(200, "done")
}

/// Holds the handle until the client lets it go on. The request's body stays unread, and alive.
pub(crate) async fn holds(call: Call) -> Answer {
    let handle = call.lazy.get().await?;
    call.scene.wait().await?;
    drop((handle, call.request));
    answer(200, "done")
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
            Ok((lease, Some(Bytes::from_static(b"a row"))))
        }
    });
    answer_with(200, body)
}
