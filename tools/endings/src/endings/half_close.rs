use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "half-close",
    sentence: "the client shuts down its write side and waits: a hang-up, unless it is allowed",
    client: |world| Box::pin(client(world)),
    must: Must { sees: Seen::Nothing, ..Must::DROPPED },
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    client.shut_down_write()?;
    client.answer().await
}
