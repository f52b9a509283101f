use anyhow::ensure;
use bytes::Bytes;

use crate::body::{Answer, answer_with, chunks};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "slow-reader",
    sentence: "a client reads slowly, and the handle is back all the same",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::BodyBegun, BACK, Event::BodyEnded], ..Must::DONE },
    ..Ending::PLAIN
};

/// More than the kernel takes in on both sides while nobody reads.
const CHUNKS: usize = 512;
const CHUNK: &[u8] = &[b'x'; 64 * 1024];
const BACK: Event = Event::Saw("the handle was back while the body stood still");

async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    answer_with(200, chunks(|number| async move { Ok((number < CHUNKS).then_some(Bytes::from_static(CHUNK))) }))
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    ensure!(client.head().await?.is_some(), "no answer");
    world.hears(Event::BodyBegun).await?;
    world.is_at_rest().await?;
    let log = &world.scene.log;
    if log.count(Event::BodyEnded) == 0 {
        log.add(BACK);
    }
    let whole = client.whole().await?;
    ensure!(whole.bytes == CHUNKS * CHUNK.len(), "{whole:?}");
    Ok(whole.seen())
}
