use http_body_util::BodyExt;

use crate::body::{Answer, answer};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "upload-half-sent",
    sentence: "the client closes in the middle of its upload; the handler swallows the error and goes on",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Reads, BROKEN, Event::Dropped], ..Must::DROPPED },
    ..Ending::HOLDING
};

const BROKEN: Event = Event::Saw("the upload broke off");

async fn handler(call: Call) -> Answer {
    let handle = call.lazy.get().await?;
    call.scene.log.add(Event::Reads);
    if call.request.into_body().collect().await.is_err() {
        call.scene.log.add(BROKEN);
    }
    call.scene.wait().await?;
    drop(handle);
    answer(200, "stored, and only half of it")
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let client = world.send(Ask::post(100, 50)).await?;
    world.hears(Event::Reads).await?;
    client.fin()?;
    Ok(Seen::Left)
}
