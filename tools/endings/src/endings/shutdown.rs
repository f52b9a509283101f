//! Servers that shut down while a request runs.

use reqscope_testkit::Verb;

use crate::event::{Event, let_through, until};
use crate::server::TestServer;
use crate::{Ending, Expected, Seen, Setup};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "shutdown-in-flight",
        sentence: "the server shuts down while the handler runs: the request is answered",
        client: |server| Box::pin(stop_and_finish(server)),
        expected: Expected { events: &[Event::Waiting, REFUSED, Event::Returned, CLOSED], ..Expected::COMPLETED },
        ..Ending::HOLDING
    },
    Ending {
        name: "shutdown-timed-out",
        sentence: "the server shuts down, and the handler outlasts the grace period",
        setup: Setup { request_grace: Setup::SOON, ..Setup::DEFAULT },
        client: |server| Box::pin(stop_and_outlast(server)),
        expected: CUT,
        ..Ending::HOLDING
    },
    Ending {
        name: "shutdown-release-hangs",
        sentence: "the server shuts down, and a release hangs",
        setup: Setup { request_grace: Setup::SOON, close_timeout: Setup::SOON, ..Setup::DEFAULT },
        client: |server| {
            server.fixture.probe.on(Verb::Release).never();
            Box::pin(stop_and_outlast(server))
        },
        expected: Expected { abandoned: 1, ..CUT },
        ..Ending::HOLDING
    },
];

const CLOSED: Event = Event::Custom("the server closed after its response");
const REFUSED: Event = Event::Custom("the server accepted no new connection");
const CUT: Expected = Expected {
    seen: Seen::Nothing,
    clean: false,
    events: &[Event::Waiting, Event::ConnectionCut, Event::Dropped],
    ..Expected::DROPPED
};

async fn stop_and_finish(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = server.hold().await?;
    server.stop();
    until("no connection is accepted", || server.socket().is_err()).await?;
    server.fixture.log.add(REFUSED);
    let_through(&server.fixture.gate)?;
    let seen = client.seen().await?;
    client.closed().await?;
    server.fixture.log.add(CLOSED);
    Ok(seen)
}

async fn stop_and_outlast(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = server.hold().await?;
    server.stop();
    client.seen().await
}
