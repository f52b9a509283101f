//! Bodies that own a handle.

use anyhow::ensure;
use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{Empty, Full};
use reqscope::{Exit, Guard};
use reqscope_hyper::{ByGrpcStatus, LeaseBody};
use reqscope_testkit::Verb;

use super::answers::{CHUNK, HEAD_WITH_A_BODY, LONG};
use crate::body::{Answer, answer_with, chunks, with_trailers};
use crate::client::Ask;
use crate::event::{Event, let_through};
use crate::handler::{ROW, owns, rows, streams};
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Resources, Seen};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "lease-body-completes",
        sentence: "a streamed body owns its handle, and comes to its end",
        handler: |call| Box::pin(streams(call, 2)),
        client: |world| Box::pin(outlives_the_scope(world)),
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-exact-length",
        sentence: "a body of a known length owns its handle; nobody asks it for its end",
        handler: |call| Box::pin(owns(call, 200, Full::new(Bytes::from_static(b"rows")))),
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-empty",
        sentence: "an empty body owns its handle",
        handler: |call| Box::pin(owns(call, 200, Empty::new())),
        must: Must { events: &[Event::Returned, Event::BodyGone], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-no-content",
        sentence: "a 204 owns its handle; nobody asks its body for anything",
        handler: |call| Box::pin(owns(call, 204, Empty::new())),
        must: Must { sees: Seen::Whole(204), events: &[Event::Returned, Event::BodyGone], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-head",
        sentence: "a HEAD, whose body owns its handle and is dropped unasked",
        handler: |call| Box::pin(owns(call, 200, Full::new(Bytes::from_static(b"rows")))),
        client: |world| Box::pin(world.asks(Ask::HEAD)),
        must: Must {
            told: &[Exit::Cancelled],
            events: &[Event::Returned, Event::BodyUnasked],
            unsettled: Some("the head is all there is, and it waits for nothing that a body owns"),
            ..Must::DONE
        },
        differs: HEAD_WITH_A_BODY,
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-fails",
        sentence: "a body that owns its handle fails in the middle",
        handler: |call| {
            Box::pin(async move {
                let body = rows(call.scene.clone(), || Err("no more rows".into()));
                owns(call, 200, body).await
            })
        },
        client: |world| Box::pin(world.asks_for_rows()),
        must: Must { told: &[Exit::Failed], ..FAILED },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-operation-fails",
        sentence: "the handle of a streamed body fails in the middle, in the hands of who makes the rows",
        handler: |call| {
            Box::pin(async move {
                call.scene.probe.on(Verb::Operate).ok().error();
                streams(call, 2).await
            })
        },
        client: |world| Box::pin(world.asks_for_rows()),
        must: Must { told: &[Exit::Cancelled], ..FAILED },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-dropped",
        sentence: "the client hangs up in the middle of a body that owns its handle",
        handler: |call| Box::pin(streams(call, 2)),
        client: |world| {
            Box::pin(async {
                world.in_the_body().await?.fin()?;
                Ok(Seen::Left)
            })
        },
        must: CUT,
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-reset",
        sentence: "the client resets the connection in the middle of a body beside which a handle is kept",
        handler: |call| {
            Box::pin(async move {
                let body = rows(call.scene.clone(), || Ok(ROW));
                owns(call, 200, body).await
            })
        },
        client: |world| {
            Box::pin(async {
                world.in_the_body().await?.rst()?;
                Ok(Seen::Left)
            })
        },
        must: CUT,
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-slow-reader",
        sentence: "a client reads slowly from a body that owns its handle; the handle stays, the scope does not",
        handler: |call| {
            let body = chunks(|number| async move { Ok((number < LONG).then_some(Bytes::from_static(CHUNK))) });
            Box::pin(owns(call, 200, body))
        },
        client: |world| Box::pin(reads_slowly(world)),
        must: Must { events: &[Event::BodyBegun, STALLED, Event::BodyEnded], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-settle-fails",
        sentence: "the COMMIT at the end of a streamed body fails: the client must not take the body for whole",
        resources: Resources::Settling,
        handler: |call| {
            Box::pin(async move {
                call.scene.probe.on(Verb::Release).error();
                streams(call, 2).await
            })
        },
        client: |world| Box::pin(world.asks_for_rows()),
        must: FAILED,
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-empty-settle-fails",
        sentence: "the COMMIT behind an empty body fails: the client must not take the answer for whole",
        resources: Resources::Settling,
        handler: |call| {
            Box::pin(async move {
                call.scene.probe.on(Verb::Release).error();
                owns(call, 200, Empty::new()).await
            })
        },
        must: Must { sees: Seen::Nothing, ..FAILED },
        ..Ending::PLAIN
    },
    Ending {
        name: "lease-body-trailers-fail",
        sentence: "a streamed body tells in its trailers that it failed, as gRPC does",
        handler: |call| Box::pin(fails_in_its_trailers(call)),
        client: |world| {
            Box::pin(async {
                let whole = world.send(Ask::GET_WITH_TRAILERS).await?.whole().await?;
                ensure!(whole.trailers, "{whole:?}");
                Ok(whole.seen())
            })
        },
        must: Must {
            told: &[Exit::Failed],
            unsettled: Some("its trailers tell the client that it failed"),
            ..Must::DONE
        },
        ..Ending::PLAIN
    },
];

const FAILED: Must = Must { sees: Seen::Cut(200), events: &[Event::Returned, Event::BodyFailed], ..Must::DONE };
pub(super) const CUT: Must = Must {
    told: &[Exit::Cancelled],
    sees: Seen::Left,
    events: &[Event::Returned, Event::Waits, Event::BodyCut],
    ..Must::DONE
};
const STALLED: Event = Event::Saw("the body stood still, and only its lease was left");

async fn outlives_the_scope(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    world.hears(Event::Waits).await?;
    let stats = world.scene.scopes.stats();
    ensure!(stats.open_scopes == 0 && stats.live == 1, "the lease outlives the scope: {stats:?}");
    let_through(&world.scene.gate)?;
    client.answer().await
}

async fn reads_slowly(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    ensure!(client.head().await?.is_some(), "no answer");
    world.hears(Event::BodyBegun).await?;
    let (stats, log) = (world.scene.scopes.stats(), &world.scene.log);
    if stats.open_scopes == 0 && stats.live == 1 && log.count(Event::BodyEnded) == 0 {
        log.add(STALLED);
    }
    let whole = client.whole().await?;
    ensure!(whole.bytes == LONG * CHUNK.len(), "{whole:?}");
    Ok(whole.seen())
}

async fn fails_in_its_trailers(call: Call) -> Answer {
    let lease = Guard::detach(call.lazy.get().await?);
    let body = LeaseBody::new(with_trailers("grpc-status", "5"), lease).classify_trailers(ByGrpcStatus);
    let mut response = answer_with(200, body)?;
    response.headers_mut().insert("trailer", HeaderValue::from_static("grpc-status"));
    Ok(response)
}
