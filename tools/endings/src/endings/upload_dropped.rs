use crate::body::{Answer, answer};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "upload-dropped",
    sentence: "the handler has dropped the upload before it came; then the client closes",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    ..Ending::HOLDING
};

async fn handler(call: Call) -> Answer {
    let handle = call.lazy.get().await?;
    drop(call.request);
    call.scene.wait().await?;
    drop(handle);
    answer(200, "done")
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let client = world.send(Ask::post(1_000_000, 0)).await?;
    world.hears(Event::Waits).await?;
    client.fin()?;
    Ok(Seen::Left)
}
