use crate::event::Event;
use crate::world::World;
use crate::{Absent, Ending, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "rst-stream-while-it-holds",
    sentence: "the client resets the stream while the handler holds its handle",
    absent: &[Absent::Protocol(Protocol::Http1, "it has no streams")],
    client: |world| Box::pin(client(world)),
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.waiting().await?;
    client.reset_stream()?;
    world.hears(Event::Dropped).await?;
    Ok(Seen::Left)
}
