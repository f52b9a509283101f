use reqscope_testkit::Verb;

use crate::event::Event;
use crate::world::World;
use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "shutdown-release-hangs",
    sentence: "the server is told to stop, and a release does not end",
    setup: Setup { request_grace: Setup::SOON, close_timeout: Setup::SOON, ..Setup::DEFAULT },
    client: |world| Box::pin(client(world)),
    must: Must {
        sees: Seen::Nothing,
        abandoned: 1,
        clean: false,
        events: &[Event::Waits, Event::ConnectionCut, Event::Dropped],
        ..Must::DROPPED
    },
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    world.scene.probe.on(Verb::Release).never();
    let mut client = world.waiting().await?;
    world.stop();
    client.answer().await
}
