//! Bodies that own a handle.

use anyhow::ensure;
use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{Empty, Full};
use reqscope::{Exit, Guard};
use reqscope_hyper::{ByGrpcStatus, LeaseBody};
use reqscope_testkit::Verb;

use super::answers::{CHUNK, HEAD_WITH_A_BODY, LONG};
use crate::body::{HandlerResult, chunks, response_with, with_trailers};
use crate::client::RequestSpec;
use crate::event::{Event, let_through};
use crate::fixture::Call;
use crate::handler::{ROW, gated_rows, lease_body, stream_lease};
use crate::server::TestServer;
use crate::{Ending, Exception, Expected, Protocol, Resources, Seen};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "lease-body-completes",
        sentence: "a streamed body that owns its handle comes to its end",
        handler: |call| Box::pin(stream_lease(call, 2)),
        client: |server| Box::pin(outlive_scope(server)),
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-exact-length",
        sentence: "a body of known length owns its handle, and is not polled for its end",
        handler: |call| Box::pin(lease_body(call, 200, Full::new(Bytes::from_static(b"rows")))),
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-empty",
        sentence: "an empty body owns its handle",
        handler: |call| Box::pin(lease_body(call, 200, Empty::new())),
        expected: Expected { events: &[Event::Returned, Event::BodyDropped], ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-no-content",
        sentence: "the body of a 204 owns its handle, and is never polled over HTTP/1",
        handler: |call| Box::pin(lease_body(call, 204, Empty::new())),
        expected: Expected {
            seen: Seen::Complete(204),
            exits: &[Exit::Cancelled],
            events: &[Event::Returned, Event::BodyUnpolled],
            unsettled: Some("a body that is never polled may belong to a response that was never sent"),
            ..Expected::COMPLETED
        },
        exceptions: &[Exception {
            stack: None,
            protocol: Protocol::Http2,
            why: "over HTTP/2 hyper polls the body of a 204, too",
            expected: Expected {
                seen: Seen::Complete(204),
                events: &[Event::Returned, Event::BodyPolled, Event::BodyEnded],
                ..Expected::COMPLETED
            },
        }],
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-head",
        sentence: "a HEAD, whose body owns its handle and is dropped without being polled",
        handler: |call| Box::pin(lease_body(call, 200, Full::new(Bytes::from_static(b"rows")))),
        client: |server| Box::pin(server.fetch(RequestSpec::HEAD)),
        expected: Expected {
            exits: &[Exit::Cancelled],
            events: &[Event::Returned, Event::BodyUnpolled],
            unsettled: Some("the head is the whole response, and does not wait for a handle that the body owns"),
            ..Expected::COMPLETED
        },
        exceptions: HEAD_WITH_A_BODY,
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-fails",
        sentence: "a body that owns its handle fails halfway",
        handler: |call| {
            Box::pin(async move {
                let body = gated_rows(call.fixture.clone(), || Err("no more rows".into()));
                lease_body(call, 200, body).await
            })
        },
        client: |server| Box::pin(server.fetch_rows()),
        expected: Expected { exits: &[Exit::Failed], ..FAILED },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-operation-fails",
        sentence: "an operation on the handle of a streamed body fails halfway",
        handler: |call| {
            Box::pin(async move {
                call.fixture.probe.on(Verb::Operate).ok().error();
                stream_lease(call, 2).await
            })
        },
        client: |server| Box::pin(server.fetch_rows()),
        expected: Expected { exits: &[Exit::Cancelled], ..FAILED },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-dropped",
        sentence: "the client closes in the middle of a body that owns its handle",
        handler: |call| Box::pin(stream_lease(call, 2)),
        client: |server| {
            Box::pin(async {
                server.mid_body().await?.fin()?;
                Ok(Seen::Left)
            })
        },
        expected: CUT,
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-reset",
        sentence: "the client resets the connection in the middle of a body that keeps a handle alongside",
        handler: |call| {
            Box::pin(async move {
                let body = gated_rows(call.fixture.clone(), || Ok(ROW));
                lease_body(call, 200, body).await
            })
        },
        client: |server| {
            Box::pin(async {
                server.mid_body().await?.rst()?;
                Ok(Seen::Left)
            })
        },
        expected: CUT,
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-slow-reader",
        sentence: "the client reads slowly from a body that owns its handle; the scope is closed, the handle kept",
        handler: |call| {
            let body = chunks(|number| async move { Ok((number < LONG).then_some(Bytes::from_static(CHUNK))) });
            Box::pin(lease_body(call, 200, body))
        },
        client: |server| Box::pin(read_slowly(server)),
        expected: Expected { events: &[Event::BodyPolled, STALLED, Event::BodyEnded], ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-settle-fails",
        sentence: "the COMMIT at the end of a streamed body fails: the client must not take the body for complete",
        resources: Resources::Settling,
        handler: |call| {
            Box::pin(async move {
                call.fixture.probe.on(Verb::Release).error();
                stream_lease(call, 2).await
            })
        },
        client: |server| Box::pin(server.fetch_rows()),
        expected: FAILED,
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-empty-settle-fails",
        sentence: "the COMMIT of an empty body fails: the client must not take the response for complete",
        resources: Resources::Settling,
        handler: |call| {
            Box::pin(async move {
                call.fixture.probe.on(Verb::Release).error();
                lease_body(call, 200, Empty::new()).await
            })
        },
        expected: Expected { seen: Seen::Nothing, ..FAILED },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-trailers-fail",
        sentence: "a streamed body reports a failure in its trailers, as gRPC does",
        handler: |call| Box::pin(fail_in_trailers(call)),
        client: |server| {
            Box::pin(async {
                let received = server.send(RequestSpec::GET_WITH_TRAILERS).await?.receive().await?;
                ensure!(received.trailers, "{received:?}");
                Ok(received.seen())
            })
        },
        expected: Expected {
            exits: &[Exit::Failed],
            unsettled: Some("the trailers report the failure to the client"),
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
];

const FAILED: Expected =
    Expected { seen: Seen::Cut(200), events: &[Event::Returned, Event::BodyFailed], ..Expected::COMPLETED };
pub(super) const CUT: Expected = Expected {
    exits: &[Exit::Cancelled],
    seen: Seen::Left,
    events: &[Event::Returned, Event::Waiting, Event::BodyCut],
    ..Expected::COMPLETED
};
const STALLED: Event = Event::Custom("the body was stalled, and its handle was the only one left");

async fn outlive_scope(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = server.send(RequestSpec::GET).await?;
    server.wait_for(Event::Waiting).await?;
    let stats = server.fixture.scopes.stats();
    ensure!(stats.open_scopes == 0 && stats.live == 1, "the lease outlives the scope: {stats:?}");
    let_through(&server.fixture.gate)?;
    client.seen().await
}

async fn read_slowly(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = server.send(RequestSpec::GET).await?;
    ensure!(client.head().await?.is_some(), "no response");
    server.wait_for(Event::BodyPolled).await?;
    let (stats, log) = (server.fixture.scopes.stats(), &server.fixture.log);
    if stats.open_scopes == 0 && stats.live == 1 && log.count(Event::BodyEnded) == 0 {
        log.add(STALLED);
    }
    let received = client.receive().await?;
    ensure!(received.bytes == LONG * CHUNK.len(), "{received:?}");
    Ok(received.seen())
}

async fn fail_in_trailers(call: Call) -> HandlerResult {
    let lease = Guard::detach(call.lazy.get().await?);
    let body = LeaseBody::new(with_trailers("grpc-status", "5"), lease).classify_trailers(ByGrpcStatus);
    let mut response = response_with(200, body)?;
    response.headers_mut().insert("trailer", HeaderValue::from_static("grpc-status"));
    Ok(response)
}
