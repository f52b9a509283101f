use reqscope::Exit;
use reqscope_testkit::Verb;

use crate::body::Answer;
use crate::client::Ask;
use crate::event::{Event, let_through};
use crate::handler::streams;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-operation-fails",
    sentence: "the handle of a streamed body fails in the middle, in the hands of who makes the rows",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must {
        told: &[Exit::Cancelled],
        sees: Seen::Cut(200),
        events: &[Event::Returned, Event::BodyFailed],
        ..Must::DONE
    },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.scene.probe.on(Verb::Operate).ok().error();
    streams(call, 2).await
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    client.head().await?;
    world.hears(Event::Waits).await?;
    let_through(&world.scene.gate)?;
    client.answer().await
}
