use reqscope::Exit;

use crate::client::Ask;
use crate::event::Event;
use crate::handler::streams;
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "rst-stream-in-the-body",
    sentence: "the client resets the stream in the middle of a body that owns its handle",
    absent: &[Absent::Protocol(Protocol::Http1, "it has no streams")],
    handler: |call| Box::pin(streams(call, 2)),
    client: |world| Box::pin(client(world)),
    must: Must {
        told: &[Exit::Cancelled],
        sees: Seen::Left,
        events: &[Event::Returned, Event::Waits, Event::BodyCut],
        ..Must::DONE
    },
    ..Ending::PLAIN
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    client.head().await?;
    world.hears(Event::Waits).await?;
    client.reset_stream()?;
    world.hears(Event::BodyCut).await?;
    Ok(Seen::Left)
}
