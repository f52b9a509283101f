use bytes::Bytes;
use reqscope::{Exit, Guard};
use reqscope_hyper::LeaseBody;

use crate::body::{Answer, answer_with, chunks};
use crate::client::Ask;
use crate::event::{Event, let_through};
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-fails",
    sentence: "a body that owns its handle fails in the middle",
    handler: |call| Box::pin(handler(call)),
    must: Must {
        told: &[Exit::Failed],
        sees: Seen::Cut(200),
        events: &[Event::Returned, Event::BodyFailed],
        ..Must::DONE
    },
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    let lease = Guard::detach(call.lazy.get().await?);
    let scene = call.scene;
    let body = chunks(move |number| {
        let scene = scene.clone();
        async move {
            if number == 0 {
                return Ok(Some(Bytes::from_static(b"a row")));
            }
            scene.wait().await?;
            Err("no more rows".into())
        }
    });
    answer_with(200, LeaseBody::new(body, lease))
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    client.head().await?;
    world.hears(Event::Waits).await?;
    let_through(&world.scene.gate)?;
    client.answer().await
}
