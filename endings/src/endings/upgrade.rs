use http::HeaderValue;
use hyper_util::rt::TokioIo;
use reqscope::Exit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::body::{Answer, bare};
use crate::client::Ask;
use crate::event::{Event, until};
use crate::scene::Call;
use crate::world::World;
use crate::{BoxError, Absent, Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "upgrade",
    sentence: "a WebSocket: the scope of the request ends at 101, the connection opens its own",
    absent: &[Absent::Protocol(Protocol::Http2, "it upgrades by an extended CONNECT, which the server does not switch on")],handler: |call| Box::pin(handler(call)),client: |world| Box::pin(client(world)),must: Must { told: &[Exit::Completed; 2], sees: Seen::Whole(101), events: &[Event::Returned, OWN, ENDED], ..Must::DONE },
    ..Ending::PLAIN
};

const OWN: Event = Event::Saw("the upgraded connection had a scope of its own");
const ENDED: Event = Event::Saw("the upgraded connection ended");

async fn handler(mut call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    let upgrade = hyper::upgrade::on(&mut call.request);
    let scene = call.scene;
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await?);
        let scope = scene.scopes.open();
        let echo = async {
            let mut handle = scope.handle().lazy(&scene.probe).get().await?;
            if call.scope.is_closed() {
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
    let mut response = bare(101)?;
    response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
    response.headers_mut().insert("upgrade", HeaderValue::from_static("websocket"));
    Ok(response)
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask { headers: &[("connection", "upgrade"), ("upgrade", "websocket")], ..Ask::GET }).await?;
    let seen = client.answer().await?;
    until("the scope of the request is closed", || world.scene.probe.releases().len() == 1).await?;
    client.socket().inject(b"x")?;
    client.byte().await?;
    client.fin()?;
    world.hears(ENDED).await?;
    Ok(seen)
}
