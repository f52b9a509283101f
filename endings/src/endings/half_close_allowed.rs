use crate::event::{Event, let_through};
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "half-close-allowed",
    sentence: "the same where it is allowed: the client is answered",
    absent: &[Absent::Protocol(Protocol::Http2, "it ends streams, not connections, to say that all was sent")],
    setup: Setup { half_close: true, ..Setup::DEFAULT },
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Waits, Event::Returned, Event::BodyEnded], ..Must::DONE },
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    client.shut_down_write()?;
    let_through(&world.scene.gate)?;
    client.answer().await
}
