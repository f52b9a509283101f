use anyhow::ensure;

use crate::client::Ask;
use crate::event::Event;
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "pipelined-and-fin",
    sentence: "the client closes behind two requests, of which the first runs; the second never does",
    absent: &[Absent::Protocol(Protocol::Http2, "it has streams instead")],
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Waits, Event::HungUp, Event::Dropped], ..Must::DROPPED },
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.connect().await?;
    client.send(Ask::GET).await?;
    client.send(Ask::GET).await?;
    world.hears(Event::Waits).await?;
    client.fin()?;
    world.hears(Event::Dropped).await?;
    ensure!(world.scene.scopes.stats().opened_scopes == 1, "only the first");
    Ok(Seen::Left)
}
