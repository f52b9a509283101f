use anyhow::Context;
use http::{HeaderValue, Method};
use hyper_util::rt::TokioIo;
use reqscope::Exit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::body::{Answer, bare};
use crate::event::{Event, until};
use crate::scene::Call;
use crate::world::World;
use crate::{BoxError, Differs, Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "upgrade",
    sentence: "a WebSocket: the scope of the request ends at 101, the connection opens its own",
    differs: &[Differs {
        stack: None,
        protocol: Protocol::Http2,
        why: "it is an extended CONNECT, and answered 200",
        must: Must { sees: Seen::Whole(200), ..SWITCHED },
    }],
    must: SWITCHED,
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

const SWITCHED: Must = Must {
    told: &[Exit::Completed; 2],
    sees: Seen::Whole(101),
    events: &[Event::Returned, OWN, ENDED],
    ..Must::DONE
};
const OWN: Event = Event::Saw("the upgraded connection had a scope of its own");
const ENDED: Event = Event::Saw("the upgraded connection ended");

async fn handler(mut call: Call) -> Answer {
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

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.connect().await?;
    let head = client.upgrade().await?.context("an answer")?;
    until("the scope of the request is closed", || world.scene.probe.releases().len() == 1).await?;
    client.echo().await?;
    client.end()?;
    world.hears(ENDED).await?;
    Ok(Seen::Whole(head.status))
}
