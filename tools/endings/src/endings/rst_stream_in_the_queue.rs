use anyhow::ensure;

use crate::client::Ask;
use crate::event::{Event, until};
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "rst-stream-in-the-queue",
    sentence: "the client resets the stream while its request waits in the queue of a pool",
    absent: &[Absent::Protocol(Protocol::Http1, "it has no streams")],
    handler: |call| Box::pin(super::fin_in_the_queue::handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { told: &[], events: &[Event::Dropped, LEFT], ..Must::DROPPED },
    ..Ending::HOLDING
};

const LEFT: Event = Event::Saw("it left the queue, and took nothing");

async fn client(world: &World) -> anyhow::Result<Seen> {
    let pool = &world.scene.pool;
    let held = pool.get().await?;
    let mut client = world.send(Ask::GET).await?;
    until("it waits in the queue", || pool.status().waiting == 1).await?;
    client.reset_stream()?;
    until("it has left the queue", || pool.status().waiting == 0).await?;
    pool.put(held);
    let status = pool.status();
    ensure!(status.idle == 1 && status.created == 1, "the place is free: {status:?}");
    world.scene.log.add(LEFT);
    Ok(Seen::Left)
}
