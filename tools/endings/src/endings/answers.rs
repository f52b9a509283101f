//! Handlers that respond, and bodies that do not own a handle.

use anyhow::ensure;
use bytes::Bytes;
use http::HeaderValue;
use reqscope::Exit;

use crate::body::{HandlerResult, chunks, empty_response, response, response_with, with_trailers};
use crate::client::RequestSpec;
use crate::event::Event;
use crate::fixture::Call;
use crate::handler::use_and_respond;
use crate::server::TestServer;
use crate::{Absent, Ending, Exception, Expected, Protocol, Seen, Stack};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "unused",
        sentence: "the handler does not ask for its handle",
        handler: |call| {
            Box::pin(async move {
                drop(call.lazy);
                response(200, "nothing was needed")
            })
        },
        expected: Expected { exits: &[], ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending { name: "returned-2xx", sentence: "the handler returns a 200", ..Ending::PLAIN },
    Ending {
        name: "returned-3xx",
        sentence: "the handler returns a 303",
        handler: |call| Box::pin(use_and_respond(call, 303)),
        expected: Expected { seen: Seen::Complete(303), ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "returned-4xx",
        sentence: "the handler returns a 404",
        handler: |call| Box::pin(use_and_respond(call, 404)),
        expected: Expected { exits: &[Exit::Failed], seen: Seen::Complete(404), ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "returned-5xx",
        sentence: "the handler returns a 502",
        handler: |call| Box::pin(use_and_respond(call, 502)),
        expected: Expected { exits: &[Exit::Failed], seen: Seen::Complete(502), ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "returned-4xx-that-keeps",
        sentence: "the handler returns a 401 with a verdict of its own, so that its writes are kept",
        handler: |call| {
            Box::pin(async move {
                let mut response = use_and_respond(call, 401).await?;
                response.extensions_mut().insert(Exit::Completed);
                Ok(response)
            })
        },
        expected: Expected { seen: Seen::Complete(401), ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "returned-error",
        sentence: "the handler returns an error",
        absent: &[Absent::Stack(Stack::Axum, "axum services return no errors")],
        handler: |call| {
            Box::pin(async move {
                use_and_respond(call, 200).await?;
                Err("failed".into())
            })
        },
        expected: Expected {
            exits: &[Exit::Failed],
            seen: Seen::Nothing,
            events: &[Event::ReturnedError],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "head",
        sentence: "a HEAD, whose response has a length and no bytes",
        client: |server| {
            Box::pin(async {
                let received = server.send(RequestSpec::HEAD).await?.receive().await?;
                ensure!(received.length() == Some(4), "{received:?}");
                Ok(received.seen())
            })
        },
        expected: Expected { events: BODILESS, ..Expected::COMPLETED },
        exceptions: HEAD_WITH_A_BODY,
        ..Ending::PLAIN
    },
    Ending {
        name: "no-content",
        sentence: "a 204, which has no body",
        handler: |call| Box::pin(use_and_respond_empty(call, 204)),
        expected: Expected { seen: Seen::Complete(204), events: BODILESS, ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "not-modified",
        sentence: "a 304, which has no body",
        handler: |call| Box::pin(use_and_respond_empty(call, 304)),
        expected: Expected { seen: Seen::Complete(304), events: BODILESS, ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "empty",
        sentence: "a 200 with an empty body",
        handler: |call| Box::pin(use_and_respond_empty(call, 200)),
        client: |server| {
            Box::pin(async {
                let received = server.send(RequestSpec::GET).await?.receive().await?;
                ensure!(received.bytes == 0 && received.length().is_none_or(|length| length == 0), "{received:?}");
                Ok(received.seen())
            })
        },
        expected: Expected { events: BODILESS, ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "exact-length",
        sentence: "a body of known length, which is not polled for its end",
        client: |server| {
            Box::pin(async {
                let received = server.send(RequestSpec::GET).await?.receive().await?;
                ensure!(received.bytes == 4 && received.length() == Some(4), "{received:?}");
                Ok(received.seen())
            })
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "chunked",
        sentence: "a body of unknown length, in two chunks",
        handler: |call| Box::pin(send_chunks(call, 2, b"half")),
        client: |server| {
            Box::pin(async {
                let received = server.send(RequestSpec::GET).await?.receive().await?;
                ensure!(received.bytes == 8 && received.length().is_none(), "{received:?}");
                Ok(received.seen())
            })
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "trailers",
        sentence: "a body with trailers",
        handler: |call| Box::pin(send_trailers(call)),
        client: |server| {
            Box::pin(async {
                let received = server.send(RequestSpec::GET_WITH_TRAILERS).await?.receive().await?;
                ensure!(received.bytes == 4 && received.trailers, "{received:?}");
                Ok(received.seen())
            })
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "slow-reader",
        sentence: "the client reads slowly; the handle is released before",
        handler: |call| Box::pin(send_chunks(call, LONG, CHUNK)),
        client: |server| Box::pin(read_slowly(server)),
        expected: Expected { events: &[Event::BodyPolled, RELEASED, Event::BodyEnded], ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
];

const BODILESS: &[Event] = &[Event::Returned, Event::BodyUnpolled];
const RELEASED: Event = Event::Custom("the handle was released while the body was stalled");

/// How a HEAD ends on plain hyper over HTTP/2.
pub(super) const HEAD_WITH_A_BODY: &[Exception] = &[Exception {
    stack: Some(Stack::Hyper),
    protocol: Protocol::Http2,
    why: "over HTTP/2 hyper sends the body of a response to HEAD, which the client treats as an error",
    expected: Expected { seen: Seen::Cut(200), ..Expected::COMPLETED },
}];

/// A number of chunks that exceeds what the kernel buffers on both sides while the client does not read.
pub(super) const LONG: usize = 512;
pub(super) const CHUNK: &[u8] = &[b'x'; 64 * 1024];

async fn use_and_respond_empty(call: Call, status: u16) -> HandlerResult {
    call.lazy.get().await?.operate().await?;
    empty_response(status)
}

async fn send_chunks(call: Call, count: usize, chunk: &'static [u8]) -> HandlerResult {
    call.lazy.get().await?.operate().await?;
    response_with(200, chunks(move |number| async move { Ok((number < count).then_some(Bytes::from_static(chunk))) }))
}

async fn send_trailers(call: Call) -> HandlerResult {
    call.lazy.get().await?.operate().await?;
    let mut response = response_with(200, with_trailers("checksum", "1"))?;
    // Over HTTP/1 only announced trailers are sent, and only to clients that accept them.
    response.headers_mut().insert("trailer", HeaderValue::from_static("checksum"));
    Ok(response)
}

async fn read_slowly(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = server.send(RequestSpec::GET).await?;
    ensure!(client.head().await?.is_some(), "no response");
    server.wait_for(Event::BodyPolled).await?;
    server.wait_until_idle().await?;
    let log = &server.fixture.log;
    if log.count(Event::BodyEnded) == 0 {
        log.add(RELEASED);
    }
    let received = client.receive().await?;
    ensure!(received.bytes == LONG * CHUNK.len(), "{received:?}");
    Ok(received.seen())
}
