use crate::event::{Event, let_through, until};
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "shutdown-in-flight",
    sentence: "the server is told to stop while the handler runs: it is answered",
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Waits, REFUSED, Event::Returned, CLOSED], ..Must::DONE },
    ..Ending::HOLDING
};

const CLOSED: Event = Event::Saw("the server closed when it had answered");
const REFUSED: Event = Event::Saw("the server let nobody new in");

async fn client(world: &World) -> anyhow::Result<Seen> {
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
