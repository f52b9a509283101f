use reqscope::Exit;

use crate::body::{Answer, answer};
use crate::event::{Event, let_through};
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Resources, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "spawned-settling",
    sentence: "a spawned task still holds the transaction: no COMMIT, and so no 200",
    resources: Resources::Settling,
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must {
        told: &[Exit::Cancelled],
        sees: Seen::Whole(500),
        events: &[Event::Returned, Event::Waits],
        ..Must::DONE
    },
    ..Ending::PLAIN
};

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
    let_through(&world.scene.gate)?;
    Ok(seen)
}
