//! Clients that close, reset or lose their connection.

use std::time::Instant;

use anyhow::ensure;
use reqscope::Exit;
use reqscope_testkit::Verb;

use crate::body::{Answer, answer, answer_with};
use crate::client::{Ask, Client, RST_STREAM, get};
use crate::event::{Event, let_through, until};
use crate::handler::{ROW, rows};
use crate::scene::Call;
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen, Setup};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "gone-at-once",
        sentence: "the client is gone in the instant in which it asks: a FIN, or a RST_STREAM, right behind; the handler is polled once",
        client: |world| Box::pin(gone_at_once(world)),
        must: Must { events: &[Event::Opened, Event::Dropped], ..Must::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "fin-in-the-queue",
        sentence: "the client closes while its request waits in the queue of a pool",
        client: |world| Box::pin(leaves_the_queue(world, |client| client.fin().map(|()| None))),
        ..QUEUED
    },
    Ending {
        name: "fin-while-it-acquires",
        sentence: "the client closes while its handle is being made",
        client: |world| Box::pin(leaves_while_it_acquires(world)),
        must: Must { told: &[], events: &[Event::Dropped, CUT], ..Must::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "fin-while-it-holds",
        sentence: "the client closes while the handler holds its handle",
        client: |world| Box::pin(world.fin_after(Ask::GET, Event::Waits)),
        ..Ending::HOLDING
    },
    Ending {
        name: "fin-in-the-body",
        sentence: "the client closes in the middle of a body; its handle was back before",
        handler: |call| {
            Box::pin(async move {
                call.lazy.get().await?.operate().await?;
                answer_with(200, rows(call.scene, || Ok(ROW)))
            })
        },
        client: |world| {
            Box::pin(async {
                world.in_the_body().await?.fin()?;
                Ok(Seen::Left)
            })
        },
        must: Must { sees: Seen::Left, events: &[Event::Returned, Event::Waits, Event::BodyCut], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "rst-while-it-holds",
        sentence: "the client resets the connection while the handler holds its handle",
        client: |world| {
            Box::pin(async {
                world.waiting().await?.rst()?;
                Ok(Seen::Left)
            })
        },
        ..Ending::HOLDING
    },
    Ending {
        name: "half-close",
        sentence: "the client shuts down its write side and waits: a hang-up, unless it is allowed",
        client: |world| {
            Box::pin(async {
                let mut client = world.waiting().await?;
                client.shut_down_write()?;
                client.answer().await
            })
        },
        must: Must { sees: Seen::Nothing, ..Must::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "half-close-allowed",
        sentence: "the same where it is allowed: the client is answered",
        absent: &[Absent::Protocol(Protocol::Http2, "it ends streams, not connections, to say that all was sent")],
        setup: Setup { half_close: true, ..Setup::DEFAULT },
        client: |world| Box::pin(half_closes(world)),
        must: Must { events: &[Event::Waits, HEARD, Event::Returned, Event::BodyEnded], ..Must::DONE },
        ..Ending::HOLDING
    },
    Ending {
        name: "pipelined",
        sentence: "two requests, one behind the other: both are answered, in turn",
        absent: PIPELINE,
        client: |world| Box::pin(two_are_answered(world)),
        must: Must { told: &[Exit::Completed; 2], events: &[Event::Waits, Event::Returned, TWO], ..Must::DONE },
        ..Ending::HOLDING
    },
    Ending {
        name: "pipelined-and-fin",
        sentence: "the client closes behind two requests, of which the first runs; the second never does",
        absent: PIPELINE,
        client: |world| {
            Box::pin(async {
                two_requests(world).await?.fin()?;
                world.hears(Event::Dropped).await?;
                ensure!(world.scene.scopes.stats().opened_scopes == 1, "only the first");
                Ok(Seen::Left)
            })
        },
        must: Must { events: &[Event::Waits, Event::HungUp, Event::Dropped], ..Must::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "peer-vanishes",
        sentence: "the client vanishes without a packet: only the deadline of the request ends it",
        setup: Setup { timeout: Some(Setup::SOON), ..Setup::DEFAULT },
        client: |world| Box::pin(vanishes(world)),
        must: Must { events: &[Event::Waits, Event::Dropped, LATE], ..Must::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "peer-vanishes-and-is-asked",
        sentence: "the client vanishes without a packet: the pings of HTTP/2 find out",
        absent: &[Absent::Protocol(Protocol::Http1, "it has no pings; the kernel asks in its place, in seconds")],
        setup: Setup { ping: Some(Setup::SOON), ..Setup::DEFAULT },
        client: |world| {
            Box::pin(async {
                let socket = world.waiting().await?.vanish()?;
                world.hears(Event::Dropped).await?;
                drop(socket);
                Ok(Seen::Left)
            })
        },
        ..Ending::HOLDING
    },
];

const PIPELINE: &[Absent] = &[Absent::Protocol(Protocol::Http2, "it has streams instead")];
const CUT: Event = Event::Saw("the acquisition was cut");
const HEARD: Event = Event::Saw("the server had heard of the half-close, and the handler went on");
const TWO: Event = Event::Saw("there were two answers");
const LATE: Event = Event::Saw("its time was over");
const LEFT: Event = Event::Saw("it left the queue, and took nothing");

/// A request that waits in the queue of a pool.
pub(super) const QUEUED: Ending = Ending {
    handler: |call| Box::pin(queues(call)),
    must: Must { told: &[], events: &[Event::Dropped, LEFT], ..Must::DROPPED },
    ..Ending::HOLDING
};

async fn queues(call: Call) -> Answer {
    drop(call.scope.lazy(&call.scene.pool).get().await?);
    answer(200, "done")
}

/// Leaves in that way while the request waits in the queue. A client that is given back stays connected.
pub(super) async fn leaves_the_queue(
    world: &World,
    leave: fn(Client) -> anyhow::Result<Option<Client>>,
) -> anyhow::Result<Seen> {
    let pool = &world.scene.pool;
    let held = pool.get().await?;
    let client = world.send(Ask::GET).await?;
    until("it waits in the queue", || pool.status().waiting == 1).await?;
    let _connected = leave(client)?;
    until("it has left the queue", || pool.status().waiting == 0).await?;
    world.hears(Event::Dropped).await?;
    pool.put(held);
    let status = pool.status();
    ensure!(status.idle == 1 && status.created == 1, "the place is free: {status:?}");
    world.scene.log.add(LEFT);
    Ok(Seen::Left)
}

async fn gone_at_once(world: &World) -> anyhow::Result<Seen> {
    let socket = world.socket()?;
    let ask = get(world.protocol);
    match world.protocol {
        Protocol::Http1 => {
            socket.inject(&ask)?;
            socket.shut_down()?;
        }
        Protocol::Http2 => socket.inject(&[ask.as_slice(), RST_STREAM].concat())?,
    }
    until("a scope was opened", || world.scene.scopes.stats().opened_scopes == 1).await?;
    world.is_at_rest().await?;
    drop(socket);
    Ok(Seen::Left)
}

async fn leaves_while_it_acquires(world: &World) -> anyhow::Result<Seen> {
    let probe = &world.scene.probe;
    probe.on(Verb::Acquire).close();
    let client = world.send(Ask::GET).await?;
    until("it acquires", || probe.on(Verb::Acquire).waiting() == 1).await?;
    client.fin()?;
    until("nobody acquires for it", || probe.counts().acquires_cut == 1).await?;
    world.scene.log.add(CUT);
    Ok(Seen::Left)
}

async fn half_closes(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    client.shut_down_write()?;
    world.round_trip().await?;
    if world.scene.log.count(Event::Dropped) == 0 {
        world.scene.log.add(HEARD);
    }
    let_through(&world.scene.gate)?;
    client.answer().await
}

/// Sends two requests, of which the first waits.
async fn two_requests(world: &World) -> anyhow::Result<Client> {
    let mut client = world.send(Ask::GET).await?;
    client.send(Ask::GET).await?;
    world.hears(Event::Waits).await?;
    Ok(client)
}

async fn two_are_answered(world: &World) -> anyhow::Result<Seen> {
    let mut client = two_requests(world).await?;
    ensure!(world.scene.scopes.stats().opened_scopes == 1, "the second waits for the first");
    let_through(&world.scene.gate)?;
    ensure!(client.answer().await? == Seen::Whole(200), "the first");
    world.scene.log.hears(Event::Waits, 2).await?;
    let_through(&world.scene.gate)?;
    let second = client.answer().await?;
    world.scene.log.add(TWO);
    Ok(second)
}

async fn vanishes(world: &World) -> anyhow::Result<Seen> {
    let begun = Instant::now();
    let socket = world.waiting().await?.vanish()?;
    world.hears(Event::Dropped).await?;
    if begun.elapsed() >= Setup::SOON {
        world.scene.log.add(LATE);
    }
    world.is_at_rest().await?;
    drop(socket);
    Ok(Seen::Left)
}
