use bytes::Bytes;

use crate::body::{Answer, answer_with, chunks};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "fin-in-the-body",
    sentence: "the client closes in the middle of a body; its handle was back before",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { sees: Seen::Left, events: &[Event::Returned, Event::Waits, Event::BodyCut], ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    let scene = call.scene;
    answer_with(
        200,
        chunks(move |number| {
            let scene = scene.clone();
            async move {
                if number > 0 {
                    scene.wait().await?;
                }
                Ok(Some(Bytes::from_static(b"a row")))
            }
        }),
    )
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    client.head().await?;
    world.hears(Event::Waits).await?;
    client.fin()?;
    Ok(Seen::Left)
}
