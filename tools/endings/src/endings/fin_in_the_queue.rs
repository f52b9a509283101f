use anyhow::ensure;

use crate::body::{Answer, answer};
use crate::client::Ask;
use crate::event::{Event, until};
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "fin-in-the-queue",
    sentence: "the client closes while its request waits in the queue of a pool",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { told: &[], events: &[Event::Dropped, LEFT], ..Must::DROPPED },
    ..Ending::HOLDING
};

const LEFT: Event = Event::Saw("it left the queue, and took nothing");

pub(super) async fn handler(call: Call) -> Answer {
    let handle = call.scope.lazy(&call.scene.pool).get().await?;
    drop(handle);
    answer(200, "done")
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let pool = &world.scene.pool;
    let held = pool.get().await?;
    let client = world.send(Ask::GET).await?;
    until("it waits in the queue", || pool.status().waiting == 1).await?;
    client.fin()?;
    until("it has left the queue", || pool.status().waiting == 0).await?;
    world.hears(Event::Dropped).await?;
    pool.put(held);
    let status = pool.status();
    ensure!(status.idle == 1 && status.created == 1, "the place is free: {status:?}");
    world.scene.log.add(LEFT);
    Ok(Seen::Left)
}
