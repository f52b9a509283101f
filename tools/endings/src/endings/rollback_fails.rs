use reqscope::Exit;
use reqscope_testkit::Verb;

use crate::body::{Answer, answer};
use crate::event::{Event, until};
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "rollback-fails",
    sentence: "the ROLLBACK under a 404 fails: the 404 stays",
    handler: |call| Box::pin(handler(call)),
    must: Must { told: &[Exit::Failed], sees: Seen::Whole(404), events: &[Event::Returned, FAILED], ..Must::DONE },
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

const FAILED: Event = Event::Saw("the ROLLBACK failed");

async fn handler(call: Call) -> Answer {
    call.scene.probe.on(Verb::Release).error();
    call.lazy.get().await?.operate().await?;
    answer(404, "there is no such thing")
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let seen = world.asks().await?;
    until("the release failed", || world.scene.scopes.stats().release_failed == 1).await?;
    world.scene.log.add(FAILED);
    Ok(seen)
}
