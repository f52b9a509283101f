use crate::client::Ask;
use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "upload-half-sent-and-answered",
    sentence: "the handler answers while half of the upload has not been sent",
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    world.send(Ask::post(100, 50)).await?.answer().await
}
