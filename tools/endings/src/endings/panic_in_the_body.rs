use bytes::Bytes;

use crate::body::{Answer, answer_with, chunks};
use crate::client::Ask;
use crate::event::{Event, let_through};
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "panic-in-the-body",
    sentence: "the body panics; its handle was back before",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { sees: Seen::Cut(200), events: &[Event::Returned, Event::BodyUnwound], ..Must::DONE },
    ..Ending::PLAIN
};

pub(super) async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    let scene = call.scene;
    answer_with(
        200,
        chunks(move |number| {
            let scene = scene.clone();
            async move {
                if number > 0 {
                    scene.wait().await?;
                    panic!("told to panic in the body");
                }
                Ok(Some(Bytes::from_static(b"a row")))
            }
        }),
    )
}

pub(super) async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    client.head().await?;
    world.hears(Event::Waits).await?;
    let_through(&world.scene.gate)?;
    client.answer().await
}
