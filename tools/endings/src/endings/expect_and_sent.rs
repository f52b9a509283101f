use anyhow::ensure;
use http_body_util::BodyExt;

use crate::body::{Answer, answer};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "expect-and-sent",
    sentence: "the handler asks for the upload, and the client sends it after the 100 Continue",
    absent: &[Absent::Protocol(Protocol::Http2, "hyper sends no 100 there")],
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must { events: &[CONTINUE, Event::Returned], ..Must::DONE },
    ..Ending::PLAIN
};

const CONTINUE: Event = Event::Saw("the client was told to go on");

async fn handler(call: Call) -> Answer {
    let bytes = call.request.into_body().collect().await?.to_bytes();
    call.lazy.get().await?.operate().await?;
    answer(if bytes == "hello" { 200 } else { 400 }, "read")
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask { headers: &[("expect", "100-continue")], ..Ask::post(5, 0) }).await?;
    let head = client.head().await?;
    ensure!(head.as_ref().is_some_and(|head| head.status == 100), "{head:?}");
    world.scene.log.add(CONTINUE);
    client.socket().inject(b"hello")?;
    client.head().await?;
    client.answer().await
}
