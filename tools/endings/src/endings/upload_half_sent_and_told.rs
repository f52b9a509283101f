use http_body_util::BodyExt;
use reqscope::Exit;

use crate::body::{Answer, answer};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "upload-half-sent-and-told",
    sentence: "the client closes in the middle of its upload; the handler answers 400 to nobody",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { told: &[Exit::Failed], events: &[Event::Reads, Event::Returned], ..Must::DROPPED },
    ..Ending::HOLDING
};

async fn handler(call: Call) -> Answer {
    let handle = call.lazy.get().await?;
    call.scene.log.add(Event::Reads);
    let broken = call.request.into_body().collect().await.is_err();
    drop(handle);
    answer(if broken { 400 } else { 200 }, "read")
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let client = world.send(Ask::post(100, 50)).await?;
    world.hears(Event::Reads).await?;
    client.fin()?;
    Ok(Seen::Left)
}
