use crate::event::Event;
use crate::world::World;
use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "peer-vanishes",
    sentence: "the client vanishes without a packet: only the deadline of the request ends it",
    setup: Setup { timeout: Some(Setup::SOON), ..Setup::DEFAULT },client: |world| Box::pin(client(world)),must: Must { events: &[Event::Waits, SILENT, Event::Dropped], ..Must::DROPPED },
    ..Ending::HOLDING
};

const SILENT: Event = Event::Saw("the client said nothing, and its connection was open");

async fn client(world: &World) -> anyhow::Result<Seen> {
    let socket = world.waiting().await?.vanish()?;
    world.hears(Event::Dropped).await?;
    world.is_at_rest().await?;
    world.scene.log.add(SILENT);
    drop(socket);
    Ok(Seen::Left)
}
