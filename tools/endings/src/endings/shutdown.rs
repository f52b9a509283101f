//! A server that stops while a request runs.

use reqscope_testkit::Verb;

use crate::event::{Event, let_through, until};
use crate::world::World;
use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "shutdown-in-flight",
        sentence: "the server is told to stop while the handler runs: it is answered",
        client: |world| Box::pin(is_answered(world)),
        must: Must { events: &[Event::Waits, REFUSED, Event::Returned, CLOSED], ..Must::DONE },
        ..Ending::HOLDING
    },
    Ending {
        name: "shutdown-timed-out",
        sentence: "the server is told to stop, and the handler outlasts the grace",
        setup: Setup { request_grace: Setup::SOON, ..Setup::DEFAULT },
        client: |world| Box::pin(is_cut(world)),
        must: CUT,
        ..Ending::HOLDING
    },
    Ending {
        name: "shutdown-release-hangs",
        sentence: "the server is told to stop, and a release does not end",
        setup: Setup { request_grace: Setup::SOON, close_timeout: Setup::SOON, ..Setup::DEFAULT },
        client: |world| {
            world.scene.probe.on(Verb::Release).never();
            Box::pin(is_cut(world))
        },
        must: Must { abandoned: 1, ..CUT },
        ..Ending::HOLDING
    },
];

const CLOSED: Event = Event::Saw("the server closed when it had answered");
const REFUSED: Event = Event::Saw("the server let nobody new in");
const CUT: Must = Must {
    sees: Seen::Nothing,
    clean: false,
    events: &[Event::Waits, Event::ConnectionCut, Event::Dropped],
    ..Must::DROPPED
};

async fn is_answered(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    world.stop();
    until("nobody is let in", || world.socket().is_err()).await?;
    world.scene.log.add(REFUSED);
    let_through(&world.scene.gate)?;
    let seen = client.answer().await?;
    client.closed().await?;
    world.scene.log.add(CLOSED);
    Ok(seen)
}

async fn is_cut(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    world.stop();
    client.answer().await
}
