use reqscope::Exit;

use crate::client::Ask;
use crate::event::Event;
use crate::handler::streams;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-dropped",
    sentence: "the client hangs up in the middle of a body that owns its handle",
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
    client.fin()?;
    Ok(Seen::Left)
}
