//! Deadlines: of the request, of a layer in or around the scope, of one query.

use anyhow::ensure;
use reqscope::Exit;
use reqscope_testkit::Verb;
use tokio::time::timeout;

use crate::body::{Answer, answer};
use crate::client::Ask;
use crate::event::Event;
use crate::layers::Layers;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Resources, Seen, Setup};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "deadline",
        sentence: "the request is out of time, and its client waits",
        setup: Setup { timeout: Some(Setup::SOON), ..Setup::DEFAULT },
        must: Must { sees: Seen::Whole(503), ..Must::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "timeout-inside",
        sentence: "a timeout layer inside of the scope answers 408: for the scope a failure",
        setup: Setup { layers: Layers::TimeoutInside, ..Setup::DEFAULT },
        must: Must { told: &[Exit::Failed], sees: Seen::Whole(408), ..Must::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "timeout-outside",
        sentence: "a timeout layer around the scope answers 408, and does not wait for the release",
        setup: Setup { layers: Layers::TimeoutOutside, ..Setup::DEFAULT },
        must: Must { sees: Seen::Whole(408), ..Must::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "timeout-outside-in-the-commit",
        sentence: "a timeout layer around the scope passes in the middle of the COMMIT, which goes on",
        resources: Resources::Settling,
        setup: Setup { layers: Layers::TimeoutOutside, ..Setup::DEFAULT },
        client: |world| Box::pin(is_answered_in_the_commit(world)),
        must: Must { sees: Seen::Whole(408), events: &[Event::Returned, COMMITS, Event::BodyUnasked], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "query-cut",
        sentence: "a query is out of time inside of the handler, which answers 200: no COMMIT of half the work",
        resources: Resources::Settling,
        handler: |call| Box::pin(cuts_a_query(call)),
        must: Must { told: &[Exit::Failed], sees: Seen::Whole(500), events: &[Event::Returned, CUT], ..Must::DONE },
        ..Ending::PLAIN
    },
];

const COMMITS: Event = Event::Saw("the COMMIT was under way when the answer was there");
const CUT: Event = Event::Saw("the query was cut");

async fn is_answered_in_the_commit(world: &World) -> anyhow::Result<Seen> {
    let release = world.scene.probe.on(Verb::Release);
    release.close();
    let seen = world.asks(Ask::GET).await?;
    ensure!(release.waiting() == 1, "it waits for its COMMIT");
    world.scene.log.add(COMMITS);
    release.ok();
    Ok(seen)
}

async fn cuts_a_query(call: Call) -> Answer {
    let mut handle = call.lazy.get().await?;
    handle.operate().await?;
    call.scene.probe.on(Verb::Operate).never();
    if timeout(Setup::SOON, handle.operate()).await.is_err() {
        call.scene.log.add(CUT);
    }
    drop(handle);
    answer(200, "done, it thinks")
}
