use crate::client::Ask;
use crate::event::Event;
use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "expect-unpolled",
    sentence: "the client closes while it waits for a 100 Continue; the handler has not asked for the upload",
    client: |world| Box::pin(client(world)),
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let client = world.send(Ask { headers: &[("expect", "100-continue")], ..Ask::post(5, 0) }).await?;
    world.hears(Event::Waits).await?;
    client.fin()?;
    Ok(Seen::Left)
}
