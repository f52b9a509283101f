use anyhow::ensure;

use crate::client::Ask;
use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "exact-length",
    sentence: "a body of a known length, which is never asked for its end",
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let whole = world.send(Ask::GET).await?.whole().await?;
    ensure!(whole.bytes == 4 && whole.length() == Some(4), "{whole:?}");
    Ok(whole.seen())
}
