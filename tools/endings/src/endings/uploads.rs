//! Requests whose body is unread, half sent, dropped, or announced and not yet sent.

use anyhow::ensure;
use http_body_util::BodyExt;
use reqscope::Exit;

use crate::body::{HandlerResult, response};
use crate::client::{RequestSpec, Upload};
use crate::event::Event;
use crate::fixture::Call;
use crate::server::TestServer;
use crate::{Absent, Ending, Expected, Protocol, Seen};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "upload-unread",
        sentence: "the client closes while its long upload is left unread",
        client: |server| Box::pin(server.fin_after(LONG, Event::Waiting)),
        ..Ending::HOLDING
    },
    Ending {
        name: "upload-unread-and-answered",
        sentence: "the handler responds and leaves the long upload unread",
        client: |server| Box::pin(server.fetch(LONG)),
        ..Ending::PLAIN
    },
    Ending {
        name: "upload-chunked-unread",
        sentence: "the client closes while its upload of unknown length is left unread",
        client: |server| {
            let chunked = RequestSpec { method: "POST", upload: Upload::Chunked { sent: 5 }, ..RequestSpec::GET };
            Box::pin(server.fin_after(chunked, Event::Waiting))
        },
        ..Ending::HOLDING
    },
    Ending {
        name: "upload-half-sent",
        sentence: "the client closes in the middle of its upload; the handler ignores the error and goes on",
        handler: |call| Box::pin(ignore_broken_upload(call)),
        client: |server| Box::pin(server.fin_after(HALF, Event::Reading)),
        expected: Expected { events: &[Event::Reading, BROKEN, Event::Dropped], ..Expected::DROPPED },
        ..Ending::HOLDING
    },
    Ending {
        name: "upload-half-sent-and-told",
        sentence: "the client closes in the middle of its upload; the handler returns a 400 that is not sent",
        handler: |call| Box::pin(reject_broken_upload(call)),
        client: |server| Box::pin(server.fin_after(HALF, Event::Reading)),
        expected: Expected {
            exits: &[Exit::Failed],
            events: &[Event::Reading, Event::Returned],
            ..Expected::DROPPED
        },
        ..Ending::HOLDING
    },
    Ending {
        name: "upload-half-sent-and-answered",
        sentence: "the handler responds while half of the upload has not been sent",
        client: |server| Box::pin(server.fetch(HALF)),
        ..Ending::PLAIN
    },
    Ending {
        name: "upload-dropped",
        sentence: "the handler drops the upload before it arrives; then the client closes",
        handler: |call| Box::pin(drop_upload(call)),
        client: |server| Box::pin(server.fin_after(RequestSpec::post(1_000_000, 0), Event::Waiting)),
        ..Ending::HOLDING
    },
    Ending {
        name: "expect-unpolled",
        sentence: "the client closes while it waits for a 100 Continue; the handler has not polled the upload",
        client: |server| Box::pin(server.fin_after(EXPECTING, Event::Waiting)),
        ..Ending::HOLDING
    },
    Ending {
        name: "expect-and-sent",
        sentence: "the handler polls the upload, and the client sends it after the 100 Continue",
        absent: &[Absent::Protocol(Protocol::Http2, "hyper sends no 100 over HTTP/2")],
        handler: |call| Box::pin(read_upload(call)),
        client: |server| Box::pin(send_after_continue(server)),
        expected: Expected { events: &[CONTINUE, Event::Returned], ..Expected::COMPLETED },
        ..Ending::PLAIN
    },
];

const LONG: RequestSpec = RequestSpec::post(32 * 1024, 32 * 1024);
const HALF: RequestSpec = RequestSpec::post(100, 50);
const EXPECTING: RequestSpec = RequestSpec { headers: &[("expect", "100-continue")], ..RequestSpec::post(5, 0) };
const BROKEN: Event = Event::Custom("the upload broke off");
const CONTINUE: Event = Event::Custom("the client received the 100 Continue");

async fn ignore_broken_upload(call: Call) -> HandlerResult {
    let handle = call.lazy.get().await?;
    call.fixture.log.add(Event::Reading);
    if call.request.into_body().collect().await.is_err() {
        call.fixture.log.add(BROKEN);
    }
    call.fixture.wait().await?;
    drop(handle);
    response(200, "stored, and only half of it")
}

async fn reject_broken_upload(call: Call) -> HandlerResult {
    let handle = call.lazy.get().await?;
    call.fixture.log.add(Event::Reading);
    let broken = call.request.into_body().collect().await.is_err();
    drop(handle);
    response(if broken { 400 } else { 200 }, "read")
}

async fn drop_upload(call: Call) -> HandlerResult {
    let handle = call.lazy.get().await?;
    drop(call.request);
    call.fixture.wait().await?;
    drop(handle);
    response(200, "done")
}

async fn read_upload(call: Call) -> HandlerResult {
    let bytes = call.request.into_body().collect().await?.to_bytes();
    call.lazy.get().await?.operate().await?;
    response(if bytes == "hello" { 200 } else { 400 }, "read")
}

async fn send_after_continue(server: &TestServer) -> anyhow::Result<Seen> {
    let mut client = server.send(EXPECTING).await?;
    let head = client.head().await?;
    ensure!(head.as_ref().is_some_and(|head| head.status == 100), "{head:?}");
    server.fixture.log.add(CONTINUE);
    client.socket().inject(b"hello")?;
    client.head().await?;
    client.seen().await
}
