use crate::event::{Event, let_through};
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "half-close-allowed",
    sentence: "the same where it is allowed: the client is answered",
    absent: &[Absent::Protocol(Protocol::Http2, "it ends streams, not connections, to say that all was sent")],
    setup: Setup { half_close: true, ..Setup::DEFAULT },
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Waits, HEARD, Event::Returned, Event::BodyEnded], ..Must::DONE },
    ..Ending::HOLDING
};

const HEARD: Event = Event::Saw("the server had heard of the half-close, and the handler went on");

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    client.shut_down_write()?;
    world.round_trip().await?;
    if world.scene.log.count(Event::Dropped) == 0 {
        world.scene.log.add(HEARD);
    }
    let_through(&world.scene.gate)?;
    client.answer().await
}
