//! What only HTTP/2 has: streams that are reset, and frames for the connection.

use anyhow::ensure;
use reqscope::Exit;
use reqscope_testkit::Verb;

use super::disconnects::{QUEUED, leaves_the_queue};
use super::lease_bodies;
use crate::client::{Ask, GOAWAY};
use crate::event::{Event, let_through, until};
use crate::handler::streams;
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Resources, Seen};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "rst-stream-while-it-holds",
        sentence: "the client resets the stream while the handler holds its handle",
        absent: NO_STREAMS,
        client: |world| {
            Box::pin(async {
                let mut client = world.waiting().await?;
                client.reset_stream()?;
                world.hears(Event::Dropped).await?;
                Ok(Seen::Left)
            })
        },
        ..Ending::HOLDING
    },
    Ending {
        name: "rst-stream-in-the-body",
        sentence: "the client resets the stream in the middle of a body that owns its handle",
        absent: NO_STREAMS,
        handler: |call| Box::pin(streams(call, 2)),
        client: |world| {
            Box::pin(async {
                let mut client = world.in_the_body().await?;
                client.reset_stream()?;
                world.hears(Event::BodyCut).await?;
                Ok(Seen::Left)
            })
        },
        must: lease_bodies::CUT,
        ..Ending::PLAIN
    },
    Ending {
        name: "rst-stream-in-the-queue",
        sentence: "the client resets the stream while its request waits in the queue of a pool",
        absent: NO_STREAMS,
        client: |world| {
            Box::pin(leaves_the_queue(world, |mut client| {
                client.reset_stream()?;
                Ok(Some(client))
            }))
        },
        ..QUEUED
    },
    Ending {
        name: "rst-stream-in-the-commit",
        sentence: "the client resets the stream in the middle of the COMMIT, which runs to its end",
        absent: NO_STREAMS,
        resources: Resources::Settling,
        client: |world| Box::pin(resets_the_stream_in_the_commit(world)),
        must: Must { sees: Seen::Left, events: &[Event::Returned, Event::BodyUnasked, LEFT], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "goaway",
        sentence: "the client says that it will send no more requests: the one in flight runs to its end",
        absent: &[Absent::Protocol(Protocol::Http1, "it has no frames")],
        client: |world| Box::pin(goes_away(world)),
        must: Must { events: &[Event::Waits, CLOSED, Event::Returned], ..Must::DONE },
        ..Ending::HOLDING
    },
    Ending {
        name: "lost-with-many-streams",
        sentence: "a connection with three requests in flight is lost",
        absent: &[Absent::Protocol(Protocol::Http1, "it has one request in flight")],
        client: |world| Box::pin(loses_three_streams(world)),
        must: Must { told: &[Exit::Cancelled; 3], events: &[Event::Waits, ALL], ..Must::DROPPED },
        ..Ending::HOLDING
    },
];

const NO_STREAMS: &[Absent] = &[Absent::Protocol(Protocol::Http1, "it has no streams")];
const ALL: Event = Event::Saw("all three handlers were dropped");
const CLOSED: Event = Event::Saw("the server closed when it had answered");
const LEFT: Event = Event::Saw("the request was gone before its COMMIT had ended");

async fn resets_the_stream_in_the_commit(world: &World) -> anyhow::Result<Seen> {
    let release = world.scene.probe.on(Verb::Release);
    release.close();
    let mut client = world.send(Ask::GET).await?;
    until("the COMMIT is under way", || release.waiting() == 1).await?;
    client.reset_stream()?;
    world.hears(Event::BodyUnasked).await?;
    ensure!(release.waiting() == 1, "the COMMIT goes on");
    world.scene.log.add(LEFT);
    let_through(release)?;
    Ok(Seen::Left)
}

async fn goes_away(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    client.socket().inject(GOAWAY)?;
    let_through(&world.scene.gate)?;
    let seen = client.answer().await?;
    client.closed().await?;
    world.scene.log.add(CLOSED);
    Ok(seen)
}

async fn loses_three_streams(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    for number in 2..=3 {
        client.send_beside(Ask::GET).await?;
        world.scene.log.hears(Event::Waits, number).await?;
    }
    client.rst()?;
    world.scene.log.hears(Event::Dropped, 3).await?;
    world.scene.log.add(ALL);
    Ok(Seen::Left)
}
