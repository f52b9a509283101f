//! When an HTTP/1 handler is dropped after its client has disconnected: each row with hyper alone, and with the watch.
//!
//! The docs rely on the rows without the watch, which are facts about hyper. If one of them fails after an update of
//! hyper, the docs need a change, and perhaps the watch is no longer needed for it.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use reqscope::Exit;
use reqscope_hyper::RequestExt;
use reqscope_testkit::until;

use crate::support::{Answer, BOUND, Client, Context, Event, Server, Setup, full};

/// Keeps the body unread.
async fn leaves_the_body(request: Request<Incoming>, context: Context) -> Answer {
    context.wait(request.scope().clone()).await;
    drop(request);
    Ok(Response::new(full("done")))
}

async fn drops_the_body(request: Request<Incoming>, context: Context) -> Answer {
    let scope = request.scope().clone();
    drop(request);
    context.wait(scope).await;
    Ok(Response::new(full("done")))
}

async fn reads_the_body(request: Request<Incoming>, context: Context) -> Answer {
    let scope = request.scope().clone();
    request.into_body().collect().await?;
    context.wait(scope).await;
    Ok(Response::new(full("done")))
}

/// Like a careless handler, ignores the error of an interrupted upload and continues.
async fn ignores_the_error(request: Request<Incoming>, context: Context) -> Answer {
    let handle = request.scope().lazy(&context.probe).get().await.unwrap();
    context.report(Event::Reads);
    let broken = request.into_body().collect().await.is_err();
    assert!(broken);
    context.wait_here().await;
    drop(handle);
    Ok(Response::new(full("done")))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn post(body: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {body}\r\n\r\n{}", "x".repeat(body))
}

/// Each row: what is sent, to which handler, and what hyper alone does when the client disconnects.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident: $sent:expr, $handler:expr, $alone:ident;)*) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            async fn with(watch: bool) -> (Server, Client) {
                let mut server = Server::start(Setup { watch, ..Setup::default() }, $handler).await;
                let mut client = Client::connect(server.address).await;
                client.send($sent).await;
                server.expect_event(Event::Waits).await;
                (server, client)
            }

            #[tokio::test]
            async fn and_fin_without_the_watch() {
                let (mut server, client) = with(false).await;
                client.fin();
                server.$alone().await;
                server.stop().await;
            }

            #[tokio::test]
            async fn and_rst_without_the_watch() {
                let (mut server, client) = with(false).await;
                client.rst();
                server.$alone().await;
                server.stop().await;
            }

            #[tokio::test]
            async fn and_fin_with_the_watch() {
                let (mut server, client) = with(true).await;
                client.fin();
                if cfg!(reqscope_portable) {
                    server.$alone().await;
                } else {
                    server.expect_handler_dropped().await;
                }
                assert!(server.stop().await.is_clean());
            }

            #[tokio::test]
            async fn and_rst_with_the_watch() {
                let (mut server, client) = with(true).await;
                client.rst();
                if cfg!(reqscope_portable) {
                    server.$alone().await;
                } else {
                    server.expect_handler_dropped().await;
                }
                assert!(server.stop().await.is_clean());
            }
        }
    )*};
}

rows! {
    get: GET, leaves_the_body, expect_handler_dropped;
    post_read_to_its_end: post(5), reads_the_body, expect_handler_dropped;
    pipelined_request: [GET, GET].concat(), leaves_the_body, expect_handler_to_finish;
    stray_line_end_after_a_post: post(5) + "\r\n", reads_the_body, expect_handler_to_finish;
    body_longer_than_one_read: post(32 * 1024), leaves_the_body, expect_handler_to_finish;
    chunked_body:
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        leaves_the_body, expect_handler_to_finish;
    body_dropped_before_it_arrived:
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
        drops_the_body, expect_handler_to_finish;
    expected_body_not_polled:
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        leaves_the_body, expect_handler_to_finish;
}

async fn start(setup: Setup, sent: &str) -> (Server, Client) {
    let mut server = Server::start(setup, leaves_the_body).await;
    let mut client = Client::connect(server.address).await;
    client.send(sent).await;
    server.expect_event(Event::Waits).await;
    (server, client)
}

mod fin_in_the_middle_of_an_upload {
    use super::*;

    async fn with(watch: bool) -> Server {
        let mut server = Server::start(Setup { watch, ..Setup::default() }, ignores_the_error).await;
        let mut client = Client::connect(server.address).await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf").await;
        server.expect_event(Event::Reads).await;
        client.fin();
        server
    }

    #[tokio::test]
    async fn is_missed_by_a_careless_handler_without_the_watch() {
        let mut server = with(false).await;
        server.expect_event(Event::Waits).await;
        server.expect_handler_to_finish().await;
    }

    #[tokio::test]
    async fn drops_the_handler_with_the_watch() {
        let mut server = with(true).await;
        if cfg!(reqscope_portable) {
            server.expect_event(Event::Waits).await;
            server.expect_handler_to_finish().await;
        } else {
            server.expect_released(Exit::Cancelled).await;
        }
    }
}

mod half_close {
    use super::*;

    fn allowed(watch: bool) -> Setup {
        Setup { watch, half_close: true, ..Setup::default() }
    }

    #[tokio::test]
    async fn is_a_disconnect_by_default_without_the_watch() {
        let (mut server, mut client) = start(Setup { watch: false, ..Setup::default() }, GET).await;
        client.shut_down_write().await;
        server.expect_handler_dropped().await;
    }

    #[tokio::test]
    async fn is_a_disconnect_by_default_with_the_watch() {
        let (mut server, mut client) = start(Setup::default(), GET).await;
        client.shut_down_write().await;
        server.expect_handler_dropped().await;
    }

    #[tokio::test]
    async fn gets_its_response_where_allowed() {
        for watch in [false, true] {
            let (mut server, mut client) = start(allowed(watch), GET).await;
            client.shut_down_write().await;
            server.expect_handler_to_finish().await;
            client.read_until("done").await;
        }
    }

    #[tokio::test]
    async fn where_allowed_a_fin_is_not_a_disconnect() {
        for watch in [false, true] {
            let (mut server, client) = start(allowed(watch), GET).await;
            client.fin();
            server.expect_handler_to_finish().await;
        }
    }

    #[tokio::test]
    async fn where_allowed_hyper_misses_a_reset() {
        let (mut server, client) = start(allowed(false), GET).await;
        client.rst();
        server.expect_handler_to_finish().await;
    }

    #[tokio::test]
    async fn where_allowed_the_watch_notices_a_reset() {
        let (mut server, client) = start(allowed(true), GET).await;
        client.rst();
        if cfg!(reqscope_portable) {
            server.expect_handler_to_finish().await;
        } else {
            server.expect_handler_dropped().await;
        }
    }

    #[tokio::test]
    async fn before_a_reset_does_not_hide_it() {
        let (mut server, mut client) = start(allowed(true), GET).await;
        client.shut_down_write().await;
        client.rst();
        if cfg!(reqscope_portable) {
            server.expect_handler_to_finish().await;
        } else {
            server.expect_handler_dropped().await;
        }
    }
}

mod timeout {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    /// Stands for a dead peer: no packet is sent in either direction.
    #[tokio::test]
    async fn drops_the_handler_of_a_silent_peer_with_503() {
        let (mut server, mut client) = start(Setup { timeout: Some(SOON), ..Setup::default() }, GET).await;
        server.expect_handler_dropped().await;
        let answer = client.read_until("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(server.stop().await.is_clean());
    }

    /// The client's kernel cannot send the FIN while the receive window is closed.
    #[tokio::test]
    async fn drops_a_handler_whose_fin_waits_behind_a_full_window() {
        let setup = Setup { timeout: Some(SOON), ..Setup::default() };
        let (mut server, client) = start(setup, &post(512 * 1024)).await;
        client.fin();
        server.expect_handler_dropped().await;
    }

    #[tokio::test]
    async fn is_readable_by_the_handler() {
        let reads_deadline = |request: Request<Incoming>, _context| async move {
            let left = request.scope().deadline().unwrap() - std::time::Instant::now();
            assert!(left <= BOUND);
            Ok(Response::new(full("read")))
        };
        let server = Server::start(Setup { timeout: Some(BOUND), ..Setup::default() }, reads_deadline).await;
        let mut client = Client::connect(server.address).await;
        client.send(GET).await;
        client.read_until("read").await;
    }
}

/// If the client sends and closes at once, the handler is polled once or not at all; its handle is released in any
/// case.
#[tokio::test]
async fn request_with_immediate_fin_leaks_nothing() {
    for watch in [false, true] {
        let server = Server::start(Setup { watch, ..Setup::default() }, leaves_the_body).await;
        for _ in 0..50 {
            let mut client = Client::connect(server.address).await;
            client.send(GET).await;
            client.fin();
        }
        until(BOUND, || server.scopes.stats().opened_scopes >= 1).await;
        let scopes = server.scopes.clone();
        let report = server.stop().await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(scopes.stats().live, 0);
    }
}
