use anyhow::ensure;
use bytes::Bytes;

use crate::body::{Answer, answer_with, chunks};
use crate::client::Ask;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "chunked",
    sentence: "a body of two chunks, of which nobody knows the length",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    answer_with(200, chunks(|number| async move { Ok((number < 2).then_some(Bytes::from_static(b"half"))) }))
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let whole = world.send(Ask::GET).await?.whole().await?;
    ensure!(whole.bytes == 8 && whole.length().is_none(), "{whole:?}");
    Ok(whole.seen())
}
