use crate::client::GOAWAY;
use crate::event::{Event, let_through};
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "goaway",
    sentence: "the client says that it will send no more requests: the one in flight runs to its end",
    absent: &[Absent::Protocol(Protocol::Http1, "it has no frames")],
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Waits, CLOSED, Event::Returned], ..Must::DONE },
    ..Ending::HOLDING
};

const CLOSED: Event = Event::Saw("the server closed when it had answered");

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    client.socket().inject(GOAWAY)?;
    let_through(&world.scene.gate)?;
    let seen = client.answer().await?;
    client.closed().await?;
    world.scene.log.add(CLOSED);
    Ok(seen)
}
