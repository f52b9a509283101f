use crate::client::{RST_STREAM, get};
use crate::event::{Event, until};
use crate::world::World;
use crate::{Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "gone-at-once",
    sentence: "the client is gone in the instant in which it asks: a FIN, or a RST_STREAM, right behind; the handler is polled once",
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Opened, Event::Dropped], ..Must::DROPPED },
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let socket = world.socket()?;
    let ask = get(world.protocol);
    match world.protocol {
        Protocol::Http1 => {
            socket.inject(&ask)?;
            socket.shut_down()?;
        }
        Protocol::Http2 => socket.inject(&[ask.as_slice(), RST_STREAM].concat())?,
    }
    until("a scope was opened", || world.scene.scopes.stats().opened_scopes == 1).await?;
    world.is_at_rest().await?;
    drop(socket);
    Ok(Seen::Left)
}
