use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "fin-while-it-holds",
    sentence: "the client closes while the handler holds its handle",
    client: |world| Box::pin(client(world)),
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    world.waiting().await?.fin()?;
    Ok(Seen::Left)
}
