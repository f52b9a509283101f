use crate::client::Ask;
use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "upload-unread-and-answered",
    sentence: "the handler answers and leaves the long upload unread",
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    world.send(Ask::post(32 * 1024, 32 * 1024)).await?.answer().await
}
