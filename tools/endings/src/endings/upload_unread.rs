use crate::client::Ask;
use crate::event::Event;
use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "upload-unread",
    sentence: "the client closes while its long upload is left unread",
    client: |world| Box::pin(client(world)),
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let client = world.send(Ask::post(32 * 1024, 32 * 1024)).await?;
    world.hears(Event::Waits).await?;
    client.fin()?;
    Ok(Seen::Left)
}
