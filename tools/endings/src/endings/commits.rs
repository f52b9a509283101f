//! COMMITs whose client leaves, that fail or that hang, and a ROLLBACK that fails.

use reqscope::Exit;
use reqscope_testkit::Verb;

use crate::body::{HandlerResult, response};
use crate::client::RequestSpec;
use crate::event::{Event, let_through, until};
use crate::fixture::Call;
use crate::handler::use_and_respond;
use crate::server::TestServer;
use crate::stepwise::Stepwise;
use crate::{Ending, Expected, Resources, Seen, Setup};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "commit-at-every-poll",
        sentence: "the client closes at each await of a COMMIT in turn; the COMMIT runs to its end",
        resources: Resources::Settling,
        handler: |call| Box::pin(commit_in_steps(call)),
        client: |server| Box::pin(leave_at_each_step(server)),
        expected: Expected {
            exits: &[Exit::Completed; Stepwise::STEPS],
            seen: Seen::Left,
            events: &[Event::Returned, LEFT, Event::BodyUnpolled],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "commit-fails",
        sentence: "the COMMIT fails",
        resources: Resources::Settling,
        handler: |call| {
            Box::pin(async move {
                call.fixture.probe.on(Verb::Release).error();
                use_and_respond(call, 200).await
            })
        },
        client: |server| {
            Box::pin(async {
                let seen = server.fetch(RequestSpec::GET).await?;
                if server.fixture.probe.on(Verb::Release).calls() == 1 {
                    server.fixture.log.add(TRIED);
                }
                Ok(seen)
            })
        },
        expected: Expected { seen: Seen::Complete(500), events: &[Event::Returned, TRIED], ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "commit-hangs",
        sentence: "the COMMIT hangs: it is abandoned at its deadline, and the response is not a 200",
        resources: Resources::Settling,
        setup: Setup { close_timeout: Setup::SOON, ..Setup::DEFAULT },
        handler: |call| {
            Box::pin(async move {
                call.fixture.probe.on(Verb::Release).never();
                use_and_respond(call, 200).await
            })
        },
        client: |server| {
            Box::pin(async {
                let seen = server.fetch(RequestSpec::GET).await?;
                if server.fixture.scopes.stats().abandoned == 1 {
                    server.fixture.log.add(ABANDONED);
                }
                Ok(seen)
            })
        },
        expected: Expected {
            abandoned: 1,
            seen: Seen::Complete(500),
            events: &[Event::Returned, ABANDONED],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "rollback-fails",
        sentence: "the ROLLBACK after a 404 fails: the response is still the 404",
        handler: |call| {
            Box::pin(async move {
                call.fixture.probe.on(Verb::Release).error();
                use_and_respond(call, 404).await
            })
        },
        client: |server| {
            Box::pin(async {
                let seen = server.fetch(RequestSpec::GET).await?;
                until("the release failed", || server.fixture.scopes.stats().release_failed == 1).await?;
                server.fixture.log.add(FAILED);
                Ok(seen)
            })
        },
        expected: Expected {
            exits: &[Exit::Failed],
            seen: Seen::Complete(404),
            events: &[Event::Returned, FAILED],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
];

const LEFT: Event = Event::Custom("the request was gone before its COMMIT had ended");
const TRIED: Event = Event::Custom("the COMMIT was tried");
const ABANDONED: Event = Event::Custom("the COMMIT was abandoned");
const FAILED: Event = Event::Custom("the ROLLBACK failed");

async fn commit_in_steps(call: Call) -> HandlerResult {
    call.scope.lazy(&call.fixture.stepwise).get().await?.operate().await?;
    response(200, "committed")
}

async fn leave_at_each_step(server: &TestServer) -> anyhow::Result<Seen> {
    let fixture = &server.fixture;
    for cut in 0..Stepwise::STEPS {
        (0..Stepwise::STEPS).for_each(|number| _ = fixture.stepwise.step(number).close());
        let client = server.send(RequestSpec::GET).await?;
        for number in 0..Stepwise::STEPS {
            let step = fixture.stepwise.step(number);
            until("the COMMIT waits at its step", || step.waiting() == 1).await?;
            if number == cut {
                break;
            }
            let_through(step)?;
        }
        client.fin()?;
        until("the scope is closed", || fixture.scopes.stats().open_scopes == 0).await?;
        fixture.log.wait_for(Event::BodyUnpolled, cut + 1).await?;
        fixture.log.add(LEFT);
        for number in cut..Stepwise::STEPS {
            let step = fixture.stepwise.step(number);
            until("the COMMIT waits at its step", || step.waiting() == 1).await?;
            let_through(step)?;
        }
        server.wait_until_idle().await?;
    }
    Ok(Seen::Left)
}
