//! Work that goes on after the response: upgraded connections, and tasks that hold a handle.

use anyhow::Context;
use http::{HeaderValue, Method};
use hyper_util::rt::TokioIo;
use reqscope::Exit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::body::{HandlerResult, empty_response, response};
use crate::client::RequestSpec;
use crate::event::{Event, let_through, until};
use crate::fixture::Call;
use crate::server::TestServer;
use crate::{Absent, BoxError, Ending, Exception, Expected, Protocol, Resources, Seen};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "upgrade",
        sentence: "a WebSocket: the scope of the request is closed at the 101, and the connection opens its own",
        exceptions: &[Exception {
            stack: None,
            protocol: Protocol::Http2,
            why: "an extended CONNECT is answered with 200",
            expected: Expected { seen: Seen::Complete(200), ..SWITCHED },
        }],
        handler: |call| Box::pin(upgrade(call)),
        client: |server| Box::pin(echo_after_upgrade(server)),
        expected: SWITCHED,
        ..Ending::PLAIN
    },
    Ending {
        name: "upgrade-not-taken",
        sentence: "the handler prepares an upgrade and returns a 200: hyper still upgrades, and the scope is closed",
        absent: &[Absent::Protocol(Protocol::Http2, "an extended CONNECT that is answered with 200 is an upgrade")],
        handler: |call| Box::pin(prepare_upgrade(call)),
        client: |server| {
            Box::pin(async {
                let mut client = server.send(RequestSpec::UPGRADE).await?;
                let seen = client.seen().await?;
                client.fin()?;
                server.wait_for(UPGRADED).await?;
                Ok(seen)
            })
        },
        expected: Expected { events: &[Event::Returned, UPGRADED], ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
    Ending {
        name: "spawned-settling",
        sentence: "a spawned task still holds the transaction: there is no COMMIT, and so no 200",
        resources: Resources::Settling,
        handler: |call| Box::pin(spawn_holder(call)),
        client: |server| Box::pin(end_spawned_task(server)),
        expected: Expected {
            exits: &[Exit::Cancelled],
            seen: Seen::Complete(500),
            events: &[Event::Returned, Event::Waiting],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "spawned-plain",
        sentence: "a spawned task still holds a handle that settles nothing: it is released when the task ends",
        resources: Resources::Plain,
        handler: |call| Box::pin(spawn_holder(call)),
        client: |server| Box::pin(end_spawned_task(server)),
        expected: Expected {
            exits: &[Exit::Cancelled],
            events: &[Event::Returned, Event::Waiting, LATER],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
];

const SWITCHED: Expected = Expected {
    exits: &[Exit::Completed; 2],
    seen: Seen::Complete(101),
    events: &[Event::Returned, OWN, ENDED],
    ..Expected::COMPLETED
};
const OWN: Event = Event::Custom("the upgraded connection had a scope of its own");
const ENDED: Event = Event::Custom("the upgraded connection ended");
const UPGRADED: Event = Event::Custom("hyper upgraded, and the scope was closed");
const LATER: Event = Event::Custom("the handle was held when the response arrived");

async fn upgrade(mut call: Call) -> HandlerResult {
    call.lazy.get().await?.operate().await?;
    let upgrade = hyper::upgrade::on(&mut call.request);
    let (request, fixture) = (call.scope, call.fixture);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await?);
        let scope = fixture.scopes.open();
        let echo = async {
            let mut handle = scope.handle().lazy(&fixture.probe).get().await?;
            if request.is_closed() {
                fixture.log.add(OWN);
            }
            let mut byte = [0];
            while io.read(&mut byte).await? == 1 {
                handle.operate().await?;
                io.write_all(&byte).await?;
            }
            Ok::<_, BoxError>(())
        };
        let exit = if echo.await.is_ok() { Exit::Completed } else { Exit::Failed };
        scope.close(exit).await?;
        fixture.log.add(ENDED);
        Ok::<_, BoxError>(())
    });
    if call.request.method() == Method::CONNECT {
        return empty_response(200);
    }
    let mut response = empty_response(101)?;
    response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
    response.headers_mut().insert("upgrade", HeaderValue::from_static("websocket"));
    Ok(response)
}

async fn echo_after_upgrade(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = server.connect().await?;
    let head = client.upgrade().await?.context("a response")?;
    until("the scope of the request is closed", || server.fixture.probe.releases().len() == 1).await?;
    client.echo().await?;
    client.end()?;
    server.wait_for(ENDED).await?;
    Ok(Seen::Complete(head.status))
}

async fn prepare_upgrade(mut call: Call) -> HandlerResult {
    call.lazy.get().await?.operate().await?;
    let upgrade = hyper::upgrade::on(&mut call.request);
    tokio::spawn(async move {
        let upgraded = upgrade.await.is_ok();
        if upgraded && call.lazy.get().await.is_err_and(|error| error.is_closed()) {
            call.fixture.log.add(UPGRADED);
        }
    });
    response(200, "not upgraded")
}

async fn spawn_holder(call: Call) -> HandlerResult {
    let guard = call.lazy.get().await?;
    let fixture = call.fixture;
    tokio::spawn(async move {
        let waited = fixture.wait().await;
        drop(guard);
        waited
    });
    response(200, "done")
}

async fn end_spawned_task(server: &TestServer) -> anyhow::Result<Seen> {
    let seen = server.fetch(RequestSpec::GET).await?;
    server.wait_for(Event::Waiting).await?;
    if server.fixture.probe.counts().live() == 1 {
        server.fixture.log.add(LATER);
    }
    let_through(&server.fixture.gate)?;
    Ok(seen)
}
