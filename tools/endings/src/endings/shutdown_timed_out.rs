use crate::event::Event;
use crate::world::World;
use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "shutdown-timed-out",
    sentence: "the server is told to stop, and the handler outlasts the grace",
    setup: Setup { request_grace: Setup::SOON, ..Setup::DEFAULT },
    client: |world| Box::pin(client(world)),
    must: Must {
        sees: Seen::Nothing,
        clean: false,
        events: &[Event::Waits, Event::ConnectionCut, Event::Dropped],
        ..Must::DROPPED
    },
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    world.stop();
    client.answer().await
}
