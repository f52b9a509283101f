use std::time::Instant;

use crate::event::Event;
use crate::world::World;
use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "peer-vanishes",
    sentence: "the client vanishes without a packet: only the deadline of the request ends it",
    setup: Setup { timeout: Some(Setup::SOON), ..Setup::DEFAULT },
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Waits, Event::Dropped, LATE], ..Must::DROPPED },
    ..Ending::HOLDING
};

const LATE: Event = Event::Saw("its time was over");

async fn client(world: &World) -> anyhow::Result<Seen> {
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
