use crate::body::{Answer, answer};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "upgrade-not-taken",
    sentence: "the handler prepares an upgrade, and then answers 200: it comes all the same, and finds the scope closed",
    absent: &[Absent::Protocol(Protocol::Http2, "an extended CONNECT that is answered 200 is taken")],
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { events: &[Event::Returned, CAME], ..Must::DONE },
    ..Ending::PLAIN
};

const CAME: Event = Event::Saw("the upgrade came all the same, and the scope was closed");

async fn handler(mut call: Call) -> Answer {
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

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client =
        world.send(Ask { headers: &[("connection", "upgrade"), ("upgrade", "websocket")], ..Ask::GET }).await?;
    let seen = client.answer().await?;
    client.fin()?;
    world.hears(CAME).await?;
    Ok(seen)
}
