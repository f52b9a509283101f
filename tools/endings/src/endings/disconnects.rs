//! Clients that close, reset or lose their connection, and clients that pipeline.

use std::time::Instant;

use anyhow::ensure;
use reqscope::Exit;
use reqscope_testkit::Verb;

use crate::body::{HandlerResult, response, response_with};
use crate::client::{Client, RST_STREAM, RequestSpec, get};
use crate::event::{Event, let_through, until};
use crate::fixture::Call;
use crate::handler::{ROW, gated_rows};
use crate::server::TestServer;
use crate::{Absent, Ending, Expected, Protocol, Seen, Setup};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "gone-at-once",
        sentence: "the client sends a FIN, or a RST_STREAM, right after its request; the handler is polled once",
        client: |server| Box::pin(gone_at_once(server)),
        expected: Expected { events: &[Event::Opened, Event::Dropped], ..Expected::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "fin-in-the-queue",
        sentence: "the client closes while its request waits for a pool",
        client: |server| Box::pin(leave_queue(server, |client| client.fin().map(|()| None))),
        ..QUEUED
    },
    Ending {
        name: "fin-while-it-acquires",
        sentence: "the client closes while its handle is being acquired",
        client: |server| Box::pin(leave_while_acquiring(server)),
        expected: Expected { exits: &[], events: &[Event::Dropped, CUT], ..Expected::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "fin-while-it-holds",
        sentence: "the client closes while the handler holds its handle",
        client: |server| Box::pin(server.fin_after(RequestSpec::GET, Event::Waiting)),
        ..Ending::HOLDING
    },
    Ending {
        name: "fin-in-the-body",
        sentence: "the client closes in the middle of a body; the handle was released before",
        handler: |call| {
            Box::pin(async move {
                call.lazy.get().await?.operate().await?;
                response_with(200, gated_rows(call.fixture, || Ok(ROW)))
            })
        },
        client: |server| {
            Box::pin(async {
                server.mid_body().await?.fin()?;
                Ok(Seen::Left)
            })
        },
        expected: Expected {
            seen: Seen::Left,
            events: &[Event::Returned, Event::Waiting, Event::BodyCut],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "rst-while-it-holds",
        sentence: "the client resets the connection while the handler holds its handle",
        client: |server| {
            Box::pin(async {
                server.hold().await?.rst()?;
                Ok(Seen::Left)
            })
        },
        ..Ending::HOLDING
    },
    Ending {
        name: "half-close",
        sentence: "the client half-closes and waits: that counts as a hang-up, unless it is allowed",
        client: |server| {
            Box::pin(async {
                let mut client = server.hold().await?;
                client.shut_down_write()?;
                client.seen().await
            })
        },
        expected: Expected { seen: Seen::Nothing, ..Expected::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "half-close-allowed",
        sentence: "the client half-closes where that is allowed: it gets its response",
        absent: &[Absent::Protocol(Protocol::Http2, "HTTP/2 ends streams, not connections, when everything is sent")],
        setup: Setup { half_close: true, ..Setup::DEFAULT },
        client: |server| Box::pin(half_close(server)),
        expected: Expected {
            events: &[Event::Waiting, NOTICED, Event::Returned, Event::BodyEnded],
            ..Expected::COMPLETED
        },
        ..Ending::HOLDING
    },
    Ending {
        name: "pipelined",
        sentence: "two pipelined requests are answered in turn",
        absent: PIPELINE,
        client: |server| Box::pin(receive_both(server)),
        expected: Expected {
            exits: &[Exit::Completed; 2],
            events: &[Event::Waiting, Event::Returned, TWO],
            ..Expected::COMPLETED
        },
        ..Ending::HOLDING
    },
    Ending {
        name: "pipelined-and-fin",
        sentence: "the client closes after two pipelined requests; the second one never runs",
        absent: PIPELINE,
        client: |server| {
            Box::pin(async {
                two_requests(server).await?.fin()?;
                server.wait_for(Event::Dropped).await?;
                ensure!(server.fixture.scopes.stats().opened_scopes == 1, "only the first");
                Ok(Seen::Left)
            })
        },
        expected: Expected { events: &[Event::Waiting, Event::HungUp, Event::Dropped], ..Expected::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "peer-vanishes",
        sentence: "the client vanishes without a packet: only the timeout of the request ends it",
        setup: Setup { timeout: Some(Setup::SOON), ..Setup::DEFAULT },
        client: |server| Box::pin(vanish(server)),
        expected: Expected { events: &[Event::Waiting, Event::Dropped, LATE], ..Expected::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "peer-vanishes-and-is-asked",
        sentence: "the client vanishes without a packet: the pings of HTTP/2 notice",
        absent: &[Absent::Protocol(
            Protocol::Http1,
            "HTTP/1 has no pings; the keepalive of the kernel notices, after seconds",
        )],
        setup: Setup { ping: Some(Setup::SOON), ..Setup::DEFAULT },
        client: |server| {
            Box::pin(async {
                let socket = server.hold().await?.vanish()?;
                server.wait_for(Event::Dropped).await?;
                drop(socket);
                Ok(Seen::Left)
            })
        },
        ..Ending::HOLDING
    },
];

const PIPELINE: &[Absent] = &[Absent::Protocol(Protocol::Http2, "HTTP/2 has streams instead")];
const CUT: Event = Event::Custom("the acquisition was cut");
const NOTICED: Event = Event::Custom("the server had seen the half-close, and the handler went on");
const TWO: Event = Event::Custom("there were two responses");
const LATE: Event = Event::Custom("the timeout had passed");
const LEFT: Event = Event::Custom("the request left the queue without a handle");

/// A request that waits for a pool.
pub(super) const QUEUED: Ending = Ending {
    handler: |call| Box::pin(wait_in_queue(call)),
    expected: Expected { exits: &[], events: &[Event::Dropped, LEFT], ..Expected::DROPPED },
    ..Ending::HOLDING
};

async fn wait_in_queue(call: Call) -> HandlerResult {
    drop(call.scope.lazy(&call.fixture.pool).get().await?);
    response(200, "done")
}

/// Calls `leave` while the request waits for the pool. A client that `leave` returns stays connected.
pub(super) async fn leave_queue(
    server: &TestServer,
    leave: fn(Client) -> anyhow::Result<Option<Client>>,
) -> anyhow::Result<Seen> {
    let pool = &server.fixture.pool;
    let held = pool.get().await?;
    let client = server.send(RequestSpec::GET).await?;
    until("the request waits in the queue", || pool.status().waiting == 1).await?;
    let _connected = leave(client)?;
    until("the request has left the queue", || pool.status().waiting == 0).await?;
    server.wait_for(Event::Dropped).await?;
    pool.put(held);
    let status = pool.status();
    ensure!(status.idle == 1 && status.created == 1, "the handle is free: {status:?}");
    server.fixture.log.add(LEFT);
    Ok(Seen::Left)
}

async fn gone_at_once(server: &TestServer) -> anyhow::Result<Seen> {
    let socket = server.socket()?;
    let request = get(server.protocol);
    match server.protocol {
        Protocol::Http1 => {
            socket.inject(&request)?;
            socket.shut_down()?;
        }
        Protocol::Http2 => socket.inject(&[request.as_slice(), RST_STREAM].concat())?,
    }
    until("a scope was opened", || server.fixture.scopes.stats().opened_scopes == 1).await?;
    server.wait_until_idle().await?;
    drop(socket);
    Ok(Seen::Left)
}

async fn leave_while_acquiring(server: &TestServer) -> anyhow::Result<Seen> {
    let probe = &server.fixture.probe;
    probe.on(Verb::Acquire).close();
    let client = server.send(RequestSpec::GET).await?;
    until("the acquisition has begun", || probe.on(Verb::Acquire).waiting() == 1).await?;
    client.fin()?;
    until("the acquisition is cut", || probe.counts().acquires_cut == 1).await?;
    server.fixture.log.add(CUT);
    Ok(Seen::Left)
}

async fn half_close(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = server.hold().await?;
    client.shut_down_write()?;
    server.round_trip().await?;
    if server.fixture.log.count(Event::Dropped) == 0 {
        server.fixture.log.add(NOTICED);
    }
    let_through(&server.fixture.gate)?;
    client.seen().await
}

/// Sends two requests, and waits until the first one waits at the gate.
async fn two_requests(server: &TestServer) -> anyhow::Result<Client> {
    let mut client = server.send(RequestSpec::GET).await?;
    client.send(RequestSpec::GET).await?;
    server.wait_for(Event::Waiting).await?;
    Ok(client)
}

async fn receive_both(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = two_requests(server).await?;
    ensure!(server.fixture.scopes.stats().opened_scopes == 1, "the second waits for the first");
    let_through(&server.fixture.gate)?;
    ensure!(client.seen().await? == Seen::Complete(200), "the first response");
    server.fixture.log.wait_for(Event::Waiting, 2).await?;
    let_through(&server.fixture.gate)?;
    let second = client.seen().await?;
    server.fixture.log.add(TWO);
    Ok(second)
}

async fn vanish(server: &TestServer) -> anyhow::Result<Seen> {
    let begun = Instant::now();
    let socket = server.hold().await?.vanish()?;
    server.wait_for(Event::Dropped).await?;
    if begun.elapsed() >= Setup::SOON {
        server.fixture.log.add(LATE);
    }
    server.wait_until_idle().await?;
    drop(socket);
    Ok(Seen::Left)
}
