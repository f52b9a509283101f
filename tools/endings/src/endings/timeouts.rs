//! Timeouts of the request, of a layer inside or around the scope, and of one query.

use anyhow::ensure;
use reqscope::Exit;
use reqscope_testkit::Verb;
use tokio::time::timeout;

use crate::body::{HandlerResult, response};
use crate::client::RequestSpec;
use crate::event::Event;
use crate::fixture::Call;
use crate::layers::Layers;
use crate::server::TestServer;
use crate::{Ending, Expected, Resources, Seen, Setup};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "deadline",
        sentence: "the timeout of the request passes while the client waits",
        setup: Setup { timeout: Some(Setup::SOON), ..Setup::DEFAULT },
        expected: Expected { seen: Seen::Complete(503), ..Expected::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "timeout-inside",
        sentence: "a timeout layer inside the scope responds with 408: a failure for the scope",
        setup: Setup { layers: Layers::TimeoutInside, ..Setup::DEFAULT },
        expected: Expected { exits: &[Exit::Failed], seen: Seen::Complete(408), ..Expected::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "timeout-outside",
        sentence: "a timeout layer around the scope responds with 408, and does not wait for the release",
        setup: Setup { layers: Layers::TimeoutOutside, ..Setup::DEFAULT },
        expected: Expected { seen: Seen::Complete(408), ..Expected::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "timeout-outside-in-the-commit",
        sentence: "a timeout layer around the scope responds in the middle of the COMMIT, which goes on",
        resources: Resources::Settling,
        setup: Setup { layers: Layers::TimeoutOutside, ..Setup::DEFAULT },
        client: |server| Box::pin(time_out_in_commit(server)),
        expected: Expected {
            seen: Seen::Complete(408),
            events: &[Event::Returned, COMMITS, Event::BodyUnpolled],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "query-cut",
        sentence: "the handler cuts a query at a timeout, and returns a 200: half the work is not committed",
        resources: Resources::Settling,
        handler: |call| Box::pin(cut_query(call)),
        expected: Expected {
            exits: &[Exit::Failed],
            seen: Seen::Complete(500),
            events: &[Event::Returned, CUT],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
];

const COMMITS: Event = Event::Custom("the COMMIT was under way when the response arrived");
const CUT: Event = Event::Custom("the query was cut");

async fn time_out_in_commit(server: &TestServer) -> anyhow::Result<Seen> {
    let release = server.fixture.probe.on(Verb::Release);
    release.close();
    let seen = server.fetch(RequestSpec::GET).await?;
    ensure!(release.waiting() == 1, "the COMMIT is under way");
    server.fixture.log.add(COMMITS);
    release.ok();
    Ok(seen)
}

async fn cut_query(call: Call) -> HandlerResult {
    let mut handle = call.lazy.get().await?;
    handle.operate().await?;
    call.fixture.probe.on(Verb::Operate).never();
    if timeout(Setup::SOON, handle.operate()).await.is_err() {
        call.fixture.log.add(CUT);
    }
    drop(handle);
    response(200, "done")
}
