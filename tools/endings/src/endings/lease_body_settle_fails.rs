use reqscope_testkit::Verb;

use crate::body::Answer;
use crate::client::Ask;
use crate::event::{Event, let_through};
use crate::handler::streams;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Resources, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-settle-fails",
    sentence: "the COMMIT at the end of a streamed body fails: the client must not take the body for whole",
    resources: Resources::Settling,
    handler: |call| Box::pin(handler(call)),
    must: Must { sees: Seen::Cut(200), events: &[Event::Returned, Event::BodyFailed], ..Must::DONE },
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.scene.probe.on(Verb::Release).error();
    streams(call, 2).await
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    client.head().await?;
    world.hears(Event::Waits).await?;
    let_through(&world.scene.gate)?;
    client.answer().await
}
