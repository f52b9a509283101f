use crate::event::Event;
use crate::world::World;
use crate::{Absent, Ending, Protocol, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "peer-vanishes-and-is-asked",
    sentence: "the client vanishes without a packet: the pings of HTTP/2 find out",
    absent: &[Absent::Protocol(Protocol::Http1, "it has no pings; the kernel asks in its place, in seconds")],
    setup: Setup { ping: Some(Setup::SOON), ..Setup::DEFAULT },
    client: |world| Box::pin(client(world)),
    ..Ending::HOLDING
};

async fn client(world: &World) -> anyhow::Result<Seen> {
    let socket = world.waiting().await?.vanish()?;
    world.hears(Event::Dropped).await?;
    drop(socket);
    Ok(Seen::Left)
}
