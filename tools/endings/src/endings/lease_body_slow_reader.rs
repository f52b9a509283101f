use anyhow::ensure;
use bytes::Bytes;
use reqscope::Guard;
use reqscope_hyper::LeaseBody;

use crate::body::{Answer, answer_with, chunks};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-slow-reader",
    sentence: "a client reads slowly from a body that owns its handle; the handle stays, the scope does not",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::BodyBegun, STALLED, Event::BodyEnded], ..Must::DONE },
    ..Ending::PLAIN
};

/// More than the kernel takes in on both sides while nobody reads.
const CHUNKS: usize = 512;
const CHUNK: &[u8] = &[b'x'; 64 * 1024];
const STALLED: Event = Event::Saw("the body stood still, and only its lease was left");

async fn handler(call: Call) -> Answer {
    let lease = Guard::detach(call.lazy.get().await?);
    let body = chunks(|number| async move { Ok((number < CHUNKS).then_some(Bytes::from_static(CHUNK))) });
    answer_with(200, LeaseBody::new(body, lease))
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    ensure!(client.head().await?.is_some(), "no answer");
    world.hears(Event::BodyBegun).await?;
    let (stats, log) = (world.scene.scopes.stats(), &world.scene.log);
    if stats.open_scopes == 0 && stats.live == 1 && log.count(Event::BodyEnded) == 0 {
        log.add(STALLED);
    }
    let whole = client.whole().await?;
    ensure!(whole.bytes == CHUNKS * CHUNK.len(), "{whole:?}");
    Ok(whole.seen())
}
