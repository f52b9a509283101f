use anyhow::ensure;
use reqscope_testkit::Verb;

use crate::client::Ask;
use crate::event::{Event, let_through, until};
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Resources, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "rst-stream-in-the-commit",
    sentence: "the client resets the stream in the middle of the COMMIT, which runs to its end",
    absent: &[Absent::Protocol(Protocol::Http1, "it has no streams")],
    resources: Resources::Settling,
    client: |world| Box::pin(client(world)),
    must: Must { sees: Seen::Left, events: &[Event::Returned, Event::BodyUnasked, LEFT], ..Must::DONE },
    ..Ending::PLAIN
};

const LEFT: Event = Event::Saw("the request was gone before its COMMIT had ended");

async fn client(world: &World) -> anyhow::Result<Seen> {
    let release = world.scene.probe.on(Verb::Release);
    release.close();
    let mut client = world.send(Ask::GET).await?;
    until("the COMMIT is under way", || release.waiting() == 1).await?;
    client.reset_stream()?;
    world.hears(Event::BodyUnasked).await?;
    ensure!(release.waiting() == 1, "the COMMIT goes on");
    world.scene.log.add(LEFT);
    let_through(release)?;
    Ok(Seen::Left)
}
