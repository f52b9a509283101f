//! Handlers that answer, and bodies that do not own a handle.

use anyhow::ensure;
use bytes::Bytes;
use http::HeaderValue;
use reqscope::Exit;

use crate::body::{Answer, answer, answer_with, bare, chunks, with_trailers};
use crate::client::Ask;
use crate::event::Event;
use crate::handler::uses;
use crate::scene::Call;
use crate::world::World;
use crate::{Absent, Differs, Ending, Must, Protocol, Seen, Stack};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "unused",
        sentence: "the handler does not ask for its handle",
        handler: |call| {
            Box::pin(async move {
                drop(call.lazy);
                answer(200, "nothing was needed")
            })
        },
        must: Must { told: &[], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending { name: "returned-2xx", sentence: "the handler returns a 200", ..Ending::PLAIN },
    Ending {
        name: "returned-3xx",
        sentence: "the handler returns a 303",
        handler: |call| Box::pin(uses(call, 303)),
        must: Must { sees: Seen::Whole(303), ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "returned-4xx",
        sentence: "the handler returns a 404",
        handler: |call| Box::pin(uses(call, 404)),
        must: Must { told: &[Exit::Failed], sees: Seen::Whole(404), ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "returned-5xx",
        sentence: "the handler returns a 502",
        handler: |call| Box::pin(uses(call, 502)),
        must: Must { told: &[Exit::Failed], sees: Seen::Whole(502), ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "returned-4xx-that-keeps",
        sentence: "the handler returns a 401 with a verdict of its own: what it has written is wanted",
        handler: |call| {
            Box::pin(async move {
                let mut response = uses(call, 401).await?;
                response.extensions_mut().insert(Exit::Completed);
                Ok(response)
            })
        },
        must: Must { sees: Seen::Whole(401), ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "returned-error",
        sentence: "the handler returns an error",
        absent: &[Absent::Stack(Stack::Axum, "its services have no errors")],
        handler: |call| {
            Box::pin(async move {
                uses(call, 200).await?;
                Err("no answer".into())
            })
        },
        must: Must { told: &[Exit::Failed], sees: Seen::Nothing, events: &[Event::Erred], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "head",
        sentence: "a HEAD, whose answer says its length and has no bytes",
        client: |world| {
            Box::pin(async {
                let whole = world.send(Ask::HEAD).await?.whole().await?;
                ensure!(whole.length() == Some(4), "{whole:?}");
                Ok(whole.seen())
            })
        },
        must: Must { events: BODILESS, ..Must::DONE },
        differs: HEAD_WITH_A_BODY,
        ..Ending::PLAIN
    },
    Ending {
        name: "no-content",
        sentence: "a 204, which has no body",
        handler: |call| Box::pin(uses_and_is_bare(call, 204)),
        must: Must { sees: Seen::Whole(204), events: BODILESS, ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "not-modified",
        sentence: "a 304, which has no body",
        handler: |call| Box::pin(uses_and_is_bare(call, 304)),
        must: Must { sees: Seen::Whole(304), events: BODILESS, ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "empty",
        sentence: "a 200 with an empty body",
        handler: |call| Box::pin(uses_and_is_bare(call, 200)),
        client: |world| {
            Box::pin(async {
                let whole = world.send(Ask::GET).await?.whole().await?;
                ensure!(whole.bytes == 0 && whole.length().is_none_or(|length| length == 0), "{whole:?}");
                Ok(whole.seen())
            })
        },
        must: Must { events: BODILESS, ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "exact-length",
        sentence: "a body of a known length, which is never asked for its end",
        client: |world| {
            Box::pin(async {
                let whole = world.send(Ask::GET).await?.whole().await?;
                ensure!(whole.bytes == 4 && whole.length() == Some(4), "{whole:?}");
                Ok(whole.seen())
            })
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "chunked",
        sentence: "a body of two chunks, of which nobody knows the length",
        handler: |call| Box::pin(many_chunks(call, 2, b"half")),
        client: |world| {
            Box::pin(async {
                let whole = world.send(Ask::GET).await?.whole().await?;
                ensure!(whole.bytes == 8 && whole.length().is_none(), "{whole:?}");
                Ok(whole.seen())
            })
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "trailers",
        sentence: "a body with trailers",
        handler: |call| Box::pin(trailers(call)),
        client: |world| {
            Box::pin(async {
                let whole = world.send(Ask::GET_WITH_TRAILERS).await?.whole().await?;
                ensure!(whole.bytes == 4 && whole.trailers, "{whole:?}");
                Ok(whole.seen())
            })
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "slow-reader",
        sentence: "a client reads slowly, and the handle is back all the same",
        handler: |call| Box::pin(many_chunks(call, LONG, CHUNK)),
        client: |world| Box::pin(reads_slowly(world)),
        must: Must { events: &[Event::BodyBegun, BACK, Event::BodyEnded], ..Must::DONE },
        ..Ending::PLAIN
    },
];

const BODILESS: &[Event] = &[Event::Returned, Event::BodyUnasked];
const BACK: Event = Event::Saw("the handle was back while the body stood still");

/// What a HEAD comes to on plain hyper.
pub(super) const HEAD_WITH_A_BODY: &[Differs] = &[Differs {
    stack: Some(Stack::Hyper),
    protocol: Protocol::Http2,
    why: "over HTTP/2 hyper sends the body of an answer to HEAD, which the client takes for an error",
    must: Must { sees: Seen::Cut(200), ..Must::DONE },
}];

/// So many chunks are more than the kernel takes in on both sides while nobody reads.
pub(super) const LONG: usize = 512;
pub(super) const CHUNK: &[u8] = &[b'x'; 64 * 1024];

async fn uses_and_is_bare(call: Call, status: u16) -> Answer {
    call.lazy.get().await?.operate().await?;
    bare(status)
}

async fn many_chunks(call: Call, count: usize, chunk: &'static [u8]) -> Answer {
    call.lazy.get().await?.operate().await?;
    answer_with(200, chunks(move |number| async move { Ok((number < count).then_some(Bytes::from_static(chunk))) }))
}

async fn trailers(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    let mut response = answer_with(200, with_trailers("checksum", "1"))?;
    // Over HTTP/1 only announced ones are sent, to those who ask for them.
    response.headers_mut().insert("trailer", HeaderValue::from_static("checksum"));
    Ok(response)
}

async fn reads_slowly(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    ensure!(client.head().await?.is_some(), "no answer");
    world.hears(Event::BodyBegun).await?;
    world.is_at_rest().await?;
    let log = &world.scene.log;
    if log.count(Event::BodyEnded) == 0 {
        log.add(BACK);
    }
    let whole = client.whole().await?;
    ensure!(whole.bytes == LONG * CHUNK.len(), "{whole:?}");
    Ok(whole.seen())
}
