use reqscope_testkit::Verb;

use crate::body::{Answer, answer};
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Resources, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "commit-fails",
    sentence: "the COMMIT fails",
    resources: Resources::Settling,
    handler: |call| Box::pin(handler(call)),
    must: Must { sees: Seen::Whole(500), events: &[Event::Returned, FAILED], ..Must::DONE },
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

const FAILED: Event = Event::Saw("the COMMIT was tried");

async fn handler(call: Call) -> Answer {
    call.scene.probe.on(Verb::Release).error();
    call.lazy.get().await?.operate().await?;
    answer(200, "done, it thinks")
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let seen = world.asks().await?;
    if world.scene.probe.on(Verb::Release).calls() == 1 {
        world.scene.log.add(FAILED);
    }
    Ok(seen)
}
