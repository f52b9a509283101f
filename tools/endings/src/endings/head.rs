use anyhow::ensure;

use crate::client::Ask;
use crate::event::Event;
use crate::world::World;
use crate::{Differs, Ending, Must, Protocol, Seen, Stack};

pub(super) const ENDING: Ending = Ending {
    name: "head",
    sentence: "a HEAD, whose answer says its length and has no bytes",
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Returned, Event::BodyUnasked], ..Must::DONE },
    differs: &[Differs {
        stack: Some(Stack::Hyper),
        protocol: Protocol::Http2,
        why: "over HTTP/2 hyper sends the body of an answer to HEAD, which the client takes for an error",
        must: Must { sees: Seen::Cut(200), ..Must::DONE },
    }],
    ..Ending::PLAIN
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask { method: "HEAD", ..Ask::GET }).await?;
    let whole = client.whole().await?;
    ensure!(whole.length() == Some(4), "{whole:?}");
    Ok(whole.seen())
}
