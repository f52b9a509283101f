//! Requests with a body: unread, half sent, dropped, or announced and not yet sent.

use anyhow::ensure;
use http_body_util::BodyExt;
use reqscope::Exit;

use crate::body::{Answer, answer};
use crate::client::{Ask, Upload};
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Absent, Ending, Must, Protocol, Seen};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "upload-unread",
        sentence: "the client closes while its long upload is left unread",
        client: |world| Box::pin(world.fin_after(LONG, Event::Waits)),
        ..Ending::HOLDING
    },
    Ending {
        name: "upload-unread-and-answered",
        sentence: "the handler answers and leaves the long upload unread",
        client: |world| Box::pin(world.asks(LONG)),
        ..Ending::PLAIN
    },
    Ending {
        name: "upload-chunked-unread",
        sentence: "the client closes while its upload of an unknown length is left unread",
        client: |world| {
            let chunked = Ask { method: "POST", upload: Upload::Chunked { sent: 5 }, ..Ask::GET };
            Box::pin(world.fin_after(chunked, Event::Waits))
        },
        ..Ending::HOLDING
    },
    Ending {
        name: "upload-half-sent",
        sentence: "the client closes in the middle of its upload; the handler swallows the error and goes on",
        handler: |call| Box::pin(goes_on_without_its_upload(call)),
        client: |world| Box::pin(world.fin_after(HALF, Event::Reads)),
        must: Must { events: &[Event::Reads, BROKEN, Event::Dropped], ..Must::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "upload-half-sent-and-told",
        sentence: "the client closes in the middle of its upload; the handler answers 400 to nobody",
        handler: |call| Box::pin(fails_without_its_upload(call)),
        client: |world| Box::pin(world.fin_after(HALF, Event::Reads)),
        must: Must { told: &[Exit::Failed], events: &[Event::Reads, Event::Returned], ..Must::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "upload-half-sent-and-answered",
        sentence: "the handler answers while half of the upload has not been sent",
        client: |world| Box::pin(world.asks(HALF)),
        ..Ending::PLAIN
    },
    Ending {
        name: "upload-dropped",
        sentence: "the handler has dropped the upload before it came; then the client closes",
        handler: |call| Box::pin(drops_its_upload(call)),
        client: |world| Box::pin(world.fin_after(Ask::post(1_000_000, 0), Event::Waits)),
        ..Ending::HOLDING
    },
    Ending {
        name: "expect-unpolled",
        sentence: "the client closes while it waits for a 100 Continue; the handler has not asked for the upload",
        client: |world| Box::pin(world.fin_after(EXPECTANT, Event::Waits)),
        ..Ending::HOLDING
    },
    Ending {
        name: "expect-and-sent",
        sentence: "the handler asks for the upload, and the client sends it after the 100 Continue",
        absent: &[Absent::Protocol(Protocol::Http2, "hyper sends no 100 there")],
        handler: |call| Box::pin(reads_its_upload(call)),
        client: |world| Box::pin(sends_after_the_continue(world)),
        must: Must { events: &[CONTINUE, Event::Returned], ..Must::DONE },
        ..Ending::PLAIN
    },
];

const LONG: Ask = Ask::post(32 * 1024, 32 * 1024);
const HALF: Ask = Ask::post(100, 50);
const EXPECTANT: Ask = Ask { headers: &[("expect", "100-continue")], ..Ask::post(5, 0) };
const BROKEN: Event = Event::Saw("the upload broke off");
const CONTINUE: Event = Event::Saw("the client was told to go on");

async fn goes_on_without_its_upload(call: Call) -> Answer {
    let handle = call.lazy.get().await?;
    call.scene.log.add(Event::Reads);
    if call.request.into_body().collect().await.is_err() {
        call.scene.log.add(BROKEN);
    }
    call.scene.wait().await?;
    drop(handle);
    answer(200, "stored, and only half of it")
}

async fn fails_without_its_upload(call: Call) -> Answer {
    let handle = call.lazy.get().await?;
    call.scene.log.add(Event::Reads);
    let broken = call.request.into_body().collect().await.is_err();
    drop(handle);
    answer(if broken { 400 } else { 200 }, "read")
}

async fn drops_its_upload(call: Call) -> Answer {
    let handle = call.lazy.get().await?;
    drop(call.request);
    call.scene.wait().await?;
    drop(handle);
    answer(200, "done")
}

async fn reads_its_upload(call: Call) -> Answer {
    let bytes = call.request.into_body().collect().await?.to_bytes();
    call.lazy.get().await?.operate().await?;
    answer(if bytes == "hello" { 200 } else { 400 }, "read")
}

async fn sends_after_the_continue(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(EXPECTANT).await?;
    let head = client.head().await?;
    ensure!(head.as_ref().is_some_and(|head| head.status == 100), "{head:?}");
    world.scene.log.add(CONTINUE);
    client.socket().inject(b"hello")?;
    client.head().await?;
    client.answer().await
}
