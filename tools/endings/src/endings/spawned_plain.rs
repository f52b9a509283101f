use reqscope::Exit;

use crate::body::{Answer, answer};
use crate::event::{Event, let_through};
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Resources, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "spawned-plain",
    sentence: "a spawned task still holds a handle that settles nothing: it comes back when the task ends",
    resources: Resources::Plain,
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { told: &[Exit::Cancelled], events: &[Event::Returned, Event::Waits, LATER], ..Must::DONE },
    ..Ending::PLAIN
};

const LATER: Event = Event::Saw("the handle was out when the answer was there");

async fn handler(call: Call) -> Answer {
    let guard = call.lazy.get().await?;
    let scene = call.scene;
    tokio::spawn(async move {
        let waited = scene.wait().await;
        drop(guard);
        waited
    });
    answer(200, "done, almost")
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let seen = world.asks().await?;
    world.hears(Event::Waits).await?;
    if world.scene.probe.counts().live() == 1 {
        world.scene.log.add(LATER);
    }
    let_through(&world.scene.gate)?;
    Ok(seen)
}
