use reqscope::Exit;

use crate::client::Ask;
use crate::event::Event;
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lost-with-many-streams",
    sentence: "a connection with three requests in flight is lost",
    absent: &[Absent::Protocol(Protocol::Http1, "it has one request in flight")],
    client: |world| Box::pin(client(world)),
    must: Must { told: &[Exit::Cancelled; 3], events: &[Event::Waits, ALL], ..Must::DROPPED },
    ..Ending::HOLDING
};

const ALL: Event = Event::Saw("all three handlers were dropped");

async fn client(world: &World) -> anyhow::Result<Seen> {
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
