use anyhow::ensure;

use crate::client::Ask;
use crate::event::{Event, let_through};
use crate::handler::streams;
use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-completes",
    sentence: "a streamed body owns its handle, and comes to its end",
    handler: |call| Box::pin(streams(call, 2)),
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    world.hears(Event::Waits).await?;
    let stats = world.scene.scopes.stats();
    ensure!(stats.open_scopes == 0 && stats.live == 1, "the lease outlives the scope: {stats:?}");
    let_through(&world.scene.gate)?;
    client.answer().await
}
