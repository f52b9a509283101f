//! Endings that only HTTP/2 has: streams that are reset, GOAWAY, and several streams on a lost connection.

use anyhow::ensure;
use reqscope::Exit;
use reqscope_testkit::Verb;

use super::disconnects::{QUEUED, leave_queue};
use super::lease_bodies;
use crate::client::{GOAWAY, RequestSpec};
use crate::event::{Event, let_through, until};
use crate::handler::stream_lease;
use crate::server::TestServer;
use crate::{Absent, Ending, Expected, Protocol, Resources, Seen};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "rst-stream-while-it-holds",
        sentence: "the client resets the stream while the handler holds its handle",
        absent: NO_STREAMS,
        client: |server| {
            Box::pin(async {
                let mut client = server.hold().await?;
                client.reset_stream()?;
                server.wait_for(Event::Dropped).await?;
                Ok(Seen::Left)
            })
        },
        ..Ending::HOLDING
    },
    Ending {
        name: "rst-stream-in-the-body",
        sentence: "the client resets the stream in the middle of a body that owns its handle",
        absent: NO_STREAMS,
        handler: |call| Box::pin(stream_lease(call, 2)),
        client: |server| {
            Box::pin(async {
                let mut client = server.mid_body().await?;
                client.reset_stream()?;
                server.wait_for(Event::BodyCut).await?;
                Ok(Seen::Left)
            })
        },
        expected: lease_bodies::CUT,
        ..Ending::PLAIN
    },
    Ending {
        name: "rst-stream-in-the-queue",
        sentence: "the client resets the stream while its request waits for a pool",
        absent: NO_STREAMS,
        client: |server| {
            Box::pin(leave_queue(server, |mut client| {
                client.reset_stream()?;
                Ok(Some(client))
            }))
        },
        ..QUEUED
    },
    Ending {
        name: "rst-stream-in-the-commit",
        sentence: "the client resets the stream in the middle of the COMMIT, which runs to its end",
        absent: NO_STREAMS,
        resources: Resources::Settling,
        client: |server| Box::pin(reset_stream_in_commit(server)),
        expected: Expected {
            seen: Seen::Left,
            events: &[Event::Returned, Event::BodyUnpolled, LEFT],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "goaway",
        sentence: "the client announces that it will send no more requests: the one in flight runs to its end",
        absent: &[Absent::Protocol(Protocol::Http1, "HTTP/1 has no frames")],
        client: |server| Box::pin(send_goaway(server)),
        expected: Expected { events: &[Event::Waiting, CLOSED, Event::Returned], ..Expected::COMPLETED },
        ..Ending::HOLDING
    },
    Ending {
        name: "lost-with-many-streams",
        sentence: "a connection with three requests in flight is lost",
        absent: &[Absent::Protocol(Protocol::Http1, "HTTP/1 has one request in flight per connection")],
        client: |server| Box::pin(lose_three_streams(server)),
        expected: Expected { exits: &[Exit::Cancelled; 3], events: &[Event::Waiting, ALL], ..Expected::DROPPED },
        ..Ending::HOLDING
    },
];

const NO_STREAMS: &[Absent] = &[Absent::Protocol(Protocol::Http1, "HTTP/1 has no streams")];
const ALL: Event = Event::Custom("all three handlers were dropped");
const CLOSED: Event = Event::Custom("the server closed after its response");
const LEFT: Event = Event::Custom("the request was gone before its COMMIT had ended");

async fn reset_stream_in_commit(server: &TestServer) -> anyhow::Result<Seen> {
    let release = server.fixture.probe.on(Verb::Release);
    release.close();
    let mut client = server.send(RequestSpec::GET).await?;
    until("the COMMIT is under way", || release.waiting() == 1).await?;
    client.reset_stream()?;
    server.wait_for(Event::BodyUnpolled).await?;
    ensure!(release.waiting() == 1, "the COMMIT goes on");
    server.fixture.log.add(LEFT);
    let_through(release)?;
    Ok(Seen::Left)
}

async fn send_goaway(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = server.hold().await?;
    client.socket().inject(GOAWAY)?;
    let_through(&server.fixture.gate)?;
    let seen = client.seen().await?;
    client.closed().await?;
    server.fixture.log.add(CLOSED);
    Ok(seen)
}

async fn lose_three_streams(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = server.hold().await?;
    for number in 2..=3 {
        client.send_concurrently(RequestSpec::GET).await?;
        server.fixture.log.wait_for(Event::Waiting, number).await?;
    }
    client.rst()?;
    server.fixture.log.wait_for(Event::Dropped, 3).await?;
    server.fixture.log.add(ALL);
    Ok(Seen::Left)
}
