//! When an HTTP/2 handler is dropped after its client has disconnected. Frames are written by hand, because an HTTP
//! library always closes in good order.

use http::{Request, Response};
use hyper::body::Incoming;
use reqscope_hyper::RequestExt;

use crate::support::{Answer, Client, Context, Event, Server, Setup, full};

async fn waits(request: Request<Incoming>, context: Context) -> Answer {
    context.wait(request.scope().clone()).await;
    Ok(Response::new(full("done")))
}

pub(crate) const PING: u8 = 6;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Returns the preface, empty settings, and `GET http://a/` on stream 1.
pub(crate) fn get() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[]), get_on(1)].concat()
}

/// Returns another request of the same connection.
pub(crate) fn get_on(stream: u32) -> Vec<u8> {
    frame(1, 0x5, stream, &[0x82, 0x86, 0x84, 0x41, 0x01, b'a'])
}

/// Returns the preface, empty settings, and a `GET` of this path on stream 1. All headers but the path are indexed.
pub(crate) fn get_path(path: &str) -> Vec<u8> {
    let literal = [&[0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    let headers = [&[0x82, 0x86, 0x41, 0x01, b'a'], &literal[..]].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[]), frame(1, 0x5, 1, &headers)].concat()
}

pub(crate) fn rst_stream() -> Vec<u8> {
    frame(3, 0, 1, &8_u32.to_be_bytes())
}

pub(crate) fn goaway() -> Vec<u8> {
    frame(7, 0, 0, &[0; 8])
}

async fn start(watch: bool) -> (Server, Client) {
    let mut server = Server::start(Setup { watch, ..Setup::default() }, waits).await;
    let mut client = Client::connect(server.address).await;
    client.send(get()).await;
    server.expect_event(Event::Waits).await;
    (server, client)
}

#[tokio::test]
async fn reset_stream_drops_its_handler() {
    for watch in [false, true] {
        let (mut server, mut client) = start(watch).await;
        client.send(rst_stream()).await;
        server.expect_handler_dropped().await;
        // This client would not answer the ping of a shutdown.
        client.fin();
        let report = server.stop().await;
        assert!(report.is_clean(), "{report:?}");
    }
}

#[tokio::test]
async fn fin_drops_the_handlers_of_the_connection() {
    for watch in [false, true] {
        let (mut server, client) = start(watch).await;
        client.fin();
        server.expect_handler_dropped().await;
        assert!(server.stop().await.is_clean());
    }
}

#[tokio::test]
async fn rst_drops_the_handlers_of_the_connection() {
    for watch in [false, true] {
        let (mut server, client) = start(watch).await;
        client.rst();
        server.expect_handler_dropped().await;
        assert!(server.stop().await.is_clean());
    }
}

#[tokio::test]
async fn goaway_lets_the_handler_finish() {
    for watch in [false, true] {
        let (mut server, mut client) = start(watch).await;
        client.send(goaway()).await;
        server.expect_handler_to_finish().await;
        client.read_until("done").await;
    }
}

/// The watch drops the connection; the tasks that hyper has spawned for its streams must end too.
#[tokio::test]
async fn lost_connection_drops_all_its_handlers() {
    let (mut server, mut client) = start(true).await;
    for stream in [3, 5, 7] {
        client.send(get_on(stream)).await;
        server.expect_event(Event::Waits).await;
    }
    client.fin();
    for _ in 0..4 {
        server.expect_event(Event::Dropped).await;
    }
    assert!(server.stop().await.is_clean());
}
