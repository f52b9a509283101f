//! Work that goes on after the answer: upgraded connections, and tasks that hold a handle.

use anyhow::Context;
use http::{HeaderValue, Method};
use hyper_util::rt::TokioIo;
use reqscope::Exit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::body::{Answer, answer, bare};
use crate::client::Ask;
use crate::event::{Event, let_through, until};
use crate::scene::Call;
use crate::world::World;
use crate::{Absent, BoxError, Differs, Ending, Must, Protocol, Resources, Seen};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "upgrade",
        sentence: "a WebSocket: the scope of the request ends at 101, the connection opens its own",
        differs: &[Differs {
            stack: None,
            protocol: Protocol::Http2,
            why: "it is an extended CONNECT, and answered 200",
            must: Must { sees: Seen::Whole(200), ..SWITCHED },
        }],
        handler: |call| Box::pin(upgrades(call)),
        client: |world| Box::pin(speaks_after_the_upgrade(world)),
        must: SWITCHED,
        ..Ending::PLAIN
    },
    Ending {
        name: "upgrade-not-taken",
        sentence: "the handler prepares an upgrade, and then answers 200: it comes all the same, and finds the scope closed",
        absent: &[Absent::Protocol(Protocol::Http2, "an extended CONNECT that is answered 200 is taken")],
        handler: |call| Box::pin(prepares_an_upgrade(call)),
        client: |world| {
            Box::pin(async {
                let mut client = world.send(Ask::UPGRADE).await?;
                let seen = client.answer().await?;
                client.fin()?;
                world.hears(CAME).await?;
                Ok(seen)
            })
        },
        must: Must { events: &[Event::Returned, CAME], ..Must::DONE },
        ..Ending::PLAIN
    },
    Ending {
        name: "spawned-settling",
        sentence: "a spawned task still holds the transaction: no COMMIT, and so no 200",
        resources: Resources::Settling,
        handler: |call| Box::pin(spawns(call)),
        client: |world| Box::pin(lets_the_task_end(world)),
        must: Must {
            told: &[Exit::Cancelled],
            sees: Seen::Whole(500),
            events: &[Event::Returned, Event::Waits],
            ..Must::DONE
        },
        ..Ending::PLAIN
    },
    Ending {
        name: "spawned-plain",
        sentence: "a spawned task still holds a handle that settles nothing: it comes back when the task ends",
        resources: Resources::Plain,
        handler: |call| Box::pin(spawns(call)),
        client: |world| Box::pin(lets_the_task_end(world)),
        must: Must { told: &[Exit::Cancelled], events: &[Event::Returned, Event::Waits, LATER], ..Must::DONE },
        ..Ending::PLAIN
    },
];

const SWITCHED: Must = Must {
    told: &[Exit::Completed; 2],
    sees: Seen::Whole(101),
    events: &[Event::Returned, OWN, ENDED],
    ..Must::DONE
};
const OWN: Event = Event::Saw("the upgraded connection had a scope of its own");
const ENDED: Event = Event::Saw("the upgraded connection ended");
const CAME: Event = Event::Saw("the upgrade came all the same, and the scope was closed");
const LATER: Event = Event::Saw("the handle was out when the answer was there");

async fn upgrades(mut call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    let upgrade = hyper::upgrade::on(&mut call.request);
    let (request, scene) = (call.scope, call.scene);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await?);
        let scope = scene.scopes.open();
        let echo = async {
            let mut handle = scope.handle().lazy(&scene.probe).get().await?;
            if request.is_closed() {
                scene.log.add(OWN);
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
        scene.log.add(ENDED);
        Ok::<_, BoxError>(())
    });
    if call.request.method() == Method::CONNECT {
        return bare(200);
    }
    let mut response = bare(101)?;
    response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
    response.headers_mut().insert("upgrade", HeaderValue::from_static("websocket"));
    Ok(response)
}

async fn speaks_after_the_upgrade(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.connect().await?;
    let head = client.upgrade().await?.context("an answer")?;
    until("the scope of the request is closed", || world.scene.probe.releases().len() == 1).await?;
    client.echo().await?;
    client.end()?;
    world.hears(ENDED).await?;
    Ok(Seen::Whole(head.status))
}

async fn prepares_an_upgrade(mut call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    let upgrade = hyper::upgrade::on(&mut call.request);
    tokio::spawn(async move {
        let came = upgrade.await.is_ok();
        if came && call.lazy.get().await.is_err_and(|error| error.is_closed()) {
            call.scene.log.add(CAME);
        }
    });
    answer(200, "no need")
}

async fn spawns(call: Call) -> Answer {
    let guard = call.lazy.get().await?;
    let scene = call.scene;
    tokio::spawn(async move {
        let waited = scene.wait().await;
        drop(guard);
        waited
    });
    answer(200, "done, almost")
}

async fn lets_the_task_end(world: &World) -> anyhow::Result<Seen> {
    let seen = world.asks(Ask::GET).await?;
    world.hears(Event::Waits).await?;
    if world.scene.probe.counts().live() == 1 {
        world.scene.log.add(LATER);
    }
    let_through(&world.scene.gate)?;
    Ok(seen)
}
