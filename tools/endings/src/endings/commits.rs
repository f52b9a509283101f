//! COMMITs that are left alone, fail or hang, and a ROLLBACK that fails.

use reqscope::Exit;
use reqscope_testkit::Verb;

use crate::body::{Answer, answer};
use crate::client::Ask;
use crate::event::{Event, let_through, until};
use crate::handler::uses;
use crate::scene::Call;
use crate::stepwise::Stepwise;
use crate::world::World;
use crate::{Ending, Must, Resources, Seen, Setup};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "commit-at-every-poll",
        sentence: "the client hangs up at each await of a COMMIT in turn; it runs to its end",
        resources: Resources::Settling,
        handler: |call| Box::pin(commits_in_steps(call)),
        client: |world| Box::pin(leaves_at_each_step(world)),
        must: Must {
            told: &[Exit::Completed; Stepwise::STEPS],
            sees: Seen::Left,
            events: &[Event::Returned, LEFT, Event::BodyUnasked],
            ..Must::DONE
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "commit-fails",
        sentence: "the COMMIT fails",
        resources: Resources::Settling,
        handler: |call| {
            Box::pin(async move {
                call.scene.probe.on(Verb::Release).error();
                uses(call, 200).await
            })
        },
        client: |world| {
            Box::pin(async {
                let seen = world.asks(Ask::GET).await?;
                if world.scene.probe.on(Verb::Release).calls() == 1 {
                    world.scene.log.add(TRIED);
                }
                Ok(seen)
            })
        },
        must: Must { sees: Seen::Whole(500), events: &[Event::Returned, TRIED], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "commit-hangs",
        sentence: "the COMMIT does not end: it is given up at its deadline, and the answer is not a 200",
        resources: Resources::Settling,
        setup: Setup { close_timeout: Setup::SOON, ..Setup::DEFAULT },
        handler: |call| {
            Box::pin(async move {
                call.scene.probe.on(Verb::Release).never();
                uses(call, 200).await
            })
        },
        client: |world| {
            Box::pin(async {
                let seen = world.asks(Ask::GET).await?;
                if world.scene.scopes.stats().abandoned == 1 {
                    world.scene.log.add(GIVEN_UP);
                }
                Ok(seen)
            })
        },
        must: Must { abandoned: 1, sees: Seen::Whole(500), events: &[Event::Returned, GIVEN_UP], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "rollback-fails",
        sentence: "the ROLLBACK under a 404 fails: the 404 stays",
        handler: |call| {
            Box::pin(async move {
                call.scene.probe.on(Verb::Release).error();
                uses(call, 404).await
            })
        },
        client: |world| {
            Box::pin(async {
                let seen = world.asks(Ask::GET).await?;
                until("the release failed", || world.scene.scopes.stats().release_failed == 1).await?;
                world.scene.log.add(FAILED);
                Ok(seen)
            })
        },
        must: Must {
            told: &[Exit::Failed],
            sees: Seen::Whole(404),
            events: &[Event::Returned, FAILED],
            ..Must::DONE
        },
        ..Ending::PLAIN
    },
];

const LEFT: Event = Event::Saw("the request was gone before its COMMIT had ended");
const TRIED: Event = Event::Saw("the COMMIT was tried");
const GIVEN_UP: Event = Event::Saw("the COMMIT was given up");
const FAILED: Event = Event::Saw("the ROLLBACK failed");

async fn commits_in_steps(call: Call) -> Answer {
    call.scope.lazy(&call.scene.stepwise).get().await?.operate().await?;
    answer(200, "committed")
}

async fn leaves_at_each_step(world: &World) -> anyhow::Result<Seen> {
    let scene = &world.scene;
    for cut in 0..Stepwise::STEPS {
        (0..Stepwise::STEPS).for_each(|number| _ = scene.stepwise.step(number).close());
        let client = world.send(Ask::GET).await?;
        for number in 0..Stepwise::STEPS {
            let step = scene.stepwise.step(number);
            until("the COMMIT has come to its step", || step.waiting() == 1).await?;
            if number == cut {
                break;
            }
            let_through(step)?;
        }
        client.fin()?;
        until("the scope is closed", || scene.scopes.stats().open_scopes == 0).await?;
        scene.log.hears(Event::BodyUnasked, cut + 1).await?;
        scene.log.add(LEFT);
        for number in cut..Stepwise::STEPS {
            let step = scene.stepwise.step(number);
            until("the COMMIT has come to its step", || step.waiting() == 1).await?;
            let_through(step)?;
        }
        world.is_at_rest().await?;
    }
    Ok(Seen::Left)
}
