use anyhow::ensure;
use reqscope_testkit::Verb;

use crate::event::Event;
use crate::layers::Layers;
use crate::world::World;
use crate::{Ending, Must, Resources, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "timeout-outside-in-the-commit",
    sentence: "a timeout layer around the scope passes in the middle of the COMMIT, which goes on",
    resources: Resources::Settling,
    setup: Setup { layers: Layers::TimeoutOutside, ..Setup::DEFAULT },
    client: |world| Box::pin(client(world)),
    must: Must { sees: Seen::Whole(408), events: &[Event::Returned, COMMITS, Event::BodyUnasked], ..Must::DONE },
    ..Ending::PLAIN
};

const COMMITS: Event = Event::Saw("the COMMIT was under way when the answer was there");

async fn client(world: &World) -> anyhow::Result<Seen> {
    let release = world.scene.probe.on(Verb::Release);
    release.close();
    let seen = world.asks().await?;
    ensure!(release.waiting() == 1, "it waits for its COMMIT");
    world.scene.log.add(COMMITS);
    release.ok();
    Ok(seen)
}
