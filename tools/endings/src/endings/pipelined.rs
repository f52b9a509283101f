use anyhow::ensure;
use reqscope::Exit;

use crate::client::Ask;
use crate::event::{Event, let_through};
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "pipelined",
    sentence: "two requests, one behind the other: both are answered, in turn",
    absent: &[Absent::Protocol(Protocol::Http2, "it has streams instead")],
    client: |world| Box::pin(client(world)),
    must: Must { told: &[Exit::Completed; 2], events: &[Event::Waits, Event::Returned, TWO], ..Must::DONE },
    ..Ending::HOLDING
};

const TWO: Event = Event::Saw("there were two answers");

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.connect().await?;
    client.send(Ask::GET).await?;
    client.send(Ask::GET).await?;
    world.hears(Event::Waits).await?;
    ensure!(world.scene.scopes.stats().opened_scopes == 1, "the second waits for the first");
    let_through(&world.scene.gate)?;
    ensure!(client.answer().await? == Seen::Whole(200), "the first");
    world.scene.log.hears(Event::Waits, 2).await?;
    let_through(&world.scene.gate)?;
    let second = client.answer().await?;
    world.scene.log.add(TWO);
    Ok(second)
}
