//! The logging around every handler, and handlers that several endings share.

use std::thread;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use reqscope::Guard;
use reqscope_hyper::LeaseBody;

use crate::body::{HandlerResult, WatchedBody, chunks, response, response_with};
use crate::event::{Event, Log};
use crate::fixture::{Call, Fixture};
use crate::{BoxError, BoxFuture};

pub(crate) type Handler = fn(Call) -> BoxFuture<'static, HandlerResult>;

pub(crate) const ROW: Bytes = Bytes::from_static(b"a row");

/// Runs a handler and logs how it ended, and how the body of its response ends.
pub(crate) fn watch(
    handler: Handler,
    call: Call,
) -> impl Future<Output = Result<Response<WatchedBody>, BoxError>> + Send + 'static {
    let log = call.fixture.log.clone();
    let mut end = HandlerEnd { log, event: None };
    let handler = handler(call);
    async move {
        let result = handler.await;
        end.event = Some(if result.is_ok() { Event::Returned } else { Event::ReturnedError });
        let log = end.log.clone();
        Ok(result?.map(|body| WatchedBody::new(body, log)))
    }
}

/// Logs how a handler ended when it is dropped.
struct HandlerEnd {
    log: Log,
    event: Option<Event>,
}

impl Drop for HandlerEnd {
    fn drop(&mut self) {
        let event = self.event.unwrap_or(if thread::panicking() { Event::Panicked } else { Event::Dropped });
        self.log.add(event);
    }
}

/// Uses the handle and responds with this status.
pub(crate) async fn use_and_respond(call: Call, status: u16) -> HandlerResult {
    call.lazy.get().await?.operate().await?;
    response(status, "done")
}

/// Holds the handle until the client opens the gate. The request's body is kept, unread.
pub(crate) async fn hold(call: Call) -> HandlerResult {
    let handle = call.lazy.get().await?;
    call.fixture.wait().await?;
    drop((handle, call.request));
    response(200, "done")
}

/// Responds with a body that owns the handle.
pub(crate) async fn lease_body<B>(call: Call, status: u16, body: B) -> HandlerResult
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let lease = Guard::detach(call.lazy.get().await?);
    response_with(status, LeaseBody::new(body, lease))
}

/// Returns a body whose first row is ready at once. Each later row is made by `more` when the client opens the gate.
pub(crate) fn gated_rows(
    fixture: Fixture,
    more: fn() -> Result<Bytes, BoxError>,
) -> impl Body<Data = Bytes, Error = BoxError> + Send + 'static {
    chunks(move |number| {
        let fixture = fixture.clone();
        async move {
            if number == 0 {
                return Ok(Some(ROW));
            }
            fixture.wait().await?;
            more().map(Some)
        }
    })
}

/// Streams `chunks` rows from a lease: the first at once, each later one when the client opens the gate.
pub(crate) async fn stream_lease(call: Call, chunks: usize) -> HandlerResult {
    let lease = Guard::detach(call.lazy.get().await?);
    let (fixture, mut number) = (call.fixture, 0);
    let body = LeaseBody::from_fn(lease, move |mut lease| {
        let fixture = fixture.clone();
        let this = number;
        number += 1;
        async move {
            if this == chunks {
                return Ok::<_, BoxError>((lease, None));
            }
            if this > 0 {
                fixture.wait().await?;
            }
            lease.operate().await?;
            Ok((lease, Some(ROW)))
        }
    });
    response_with(200, body)
}
