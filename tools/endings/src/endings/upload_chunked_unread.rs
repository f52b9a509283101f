use crate::client::{Ask, Upload};
use crate::event::Event;
use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "upload-chunked-unread",
    sentence: "the client closes while its upload of an unknown length is left unread",
    client: |world| Box::pin(client(world)),
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let client = world.send(Ask { method: "POST", upload: Upload::Chunked { sent: 5 }, ..Ask::GET }).await?;
    world.hears(Event::Waits).await?;
    client.fin()?;
    Ok(Seen::Left)
}
