use reqscope_testkit::Verb;

use crate::client::Ask;
use crate::event::{Event, until};
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "fin-while-it-acquires",
    sentence: "the client closes while its handle is being made",
    client: |world| Box::pin(client(world)),
    must: Must { told: &[], events: &[Event::Dropped, CUT], ..Must::DROPPED },
    ..Ending::HOLDING
};

const CUT: Event = Event::Saw("the acquisition was cut");

async fn client(world: &World) -> anyhow::Result<Seen> {
    let probe = &world.scene.probe;
    probe.on(Verb::Acquire).close();
    let client = world.send(Ask::GET).await?;
    until("it acquires", || probe.on(Verb::Acquire).waiting() == 1).await?;
    client.fin()?;
    until("nobody acquires for it", || probe.counts().acquires_cut == 1).await?;
    world.scene.log.add(CUT);
    Ok(Seen::Left)
}
