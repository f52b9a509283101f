use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "rst-while-it-holds",
    sentence: "the client resets the connection while the handler holds its handle",
    client: |world| Box::pin(client(world)),
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    world.waiting().await?.rst()?;
    Ok(Seen::Left)
}
