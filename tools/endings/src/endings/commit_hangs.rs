use reqscope_testkit::Verb;

use crate::body::{Answer, answer};
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Resources, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "commit-hangs",
    sentence: "the COMMIT does not end: it is given up at its deadline, and the answer is not a 200",
    resources: Resources::Settling,
    setup: Setup { close_timeout: Setup::SOON, ..Setup::DEFAULT },
    handler: |call| Box::pin(handler(call)),
    must: Must { abandoned: 1, sees: Seen::Whole(500), events: &[Event::Returned, GIVEN_UP], ..Must::DONE },
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

const GIVEN_UP: Event = Event::Saw("the COMMIT was given up");

async fn handler(call: Call) -> Answer {
    call.scene.probe.on(Verb::Release).never();
    call.lazy.get().await?.operate().await?;
    answer(200, "done, it thinks")
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let seen = world.asks().await?;
    if world.scene.scopes.stats().abandoned == 1 {
        world.scene.log.add(GIVEN_UP);
    }
    Ok(seen)
}
