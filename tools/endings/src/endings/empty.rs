use anyhow::ensure;

use crate::body::{Answer, bare};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "empty",
    sentence: "a 200 with an empty body",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Returned, Event::BodyUnasked], ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    bare(200)
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let whole = world.send(Ask::GET).await?.whole().await?;
    ensure!(whole.bytes == 0 && whole.length().is_none_or(|length| length == 0), "{whole:?}");
    Ok(whole.seen())
}
