//! When an HTTP/1 handler hears that its client has gone: each row with hyper alone, and with the watch.
//!
//! The rows without the watch are facts about hyper that the docs rest on. If one of them fails after an update of
//! hyper, the docs want a change, and perhaps the watch is no longer needed for it.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use reqscope::Exit;
use reqscope_hyper::RequestExt;
use reqscope_testkit::until;

use crate::support::{Answer, BOUND, Client, Context, Event, Server, Setup, full};

/// The body stays unread, and alive.
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

/// What a careless handler does: the upload breaks off, and it goes on as if nothing was.
async fn swallows_the_error(request: Request<Incoming>, context: Context) -> Answer {
    let handle = request.scope().lazy(&context.probe).get().await.unwrap();
    context.says(Event::Reads);
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

/// Each row: what is sent, to which handler, and what hyper alone does when the client goes.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident: $sent:expr, $handler:expr, $alone:ident;)*) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            async fn with(watch: bool) -> (Server, Client) {
                let mut server = Server::start(Setup { watch, ..Setup::default() }, $handler).await;
                let mut client = Client::connect(server.address).await;
                client.send($sent).await;
                server.hears(Event::Waits).await;
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
                    server.cuts_the_handler().await;
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
                    server.cuts_the_handler().await;
                }
                assert!(server.stop().await.is_clean());
            }
        }
    )*};
}

rows! {
    a_get: GET, leaves_the_body, cuts_the_handler;
    a_post_read_to_its_end: post(5), reads_the_body, cuts_the_handler;
    a_pipelined_request: [GET, GET].concat(), leaves_the_body, runs_the_handler_to_its_end;
    a_stray_line_end_after_a_post: post(5) + "\r\n", reads_the_body, runs_the_handler_to_its_end;
    a_body_longer_than_one_read: post(32 * 1024), leaves_the_body, runs_the_handler_to_its_end;
    a_chunked_body:
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        leaves_the_body, runs_the_handler_to_its_end;
    a_body_dropped_before_it_arrived:
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
        drops_the_body, runs_the_handler_to_its_end;
    an_expected_body_that_is_not_polled:
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        leaves_the_body, runs_the_handler_to_its_end;
}

async fn start(setup: Setup, sent: &str) -> (Server, Client) {
    let mut server = Server::start(setup, leaves_the_body).await;
    let mut client = Client::connect(server.address).await;
    client.send(sent).await;
    server.hears(Event::Waits).await;
    (server, client)
}

mod a_fin_in_the_middle_of_an_upload {
    use super::*;

    async fn with(watch: bool) -> Server {
        let mut server = Server::start(Setup { watch, ..Setup::default() }, swallows_the_error).await;
        let mut client = Client::connect(server.address).await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf").await;
        server.hears(Event::Reads).await;
        client.fin();
        server
    }

    #[tokio::test]
    async fn does_not_end_a_handler_that_swallows_the_error_without_the_watch() {
        let mut server = with(false).await;
        server.hears(Event::Waits).await;
        server.runs_the_handler_to_its_end().await;
    }

    #[tokio::test]
    async fn ends_it_with_the_watch() {
        let mut server = with(true).await;
        if cfg!(reqscope_portable) {
            server.hears(Event::Waits).await;
            server.runs_the_handler_to_its_end().await;
        } else {
            server.releases(Exit::Cancelled).await;
        }
    }
}

mod half_close {
    use super::*;

    fn allowed(watch: bool) -> Setup {
        Setup { watch, half_close: true, ..Setup::default() }
    }

    #[tokio::test]
    async fn is_a_hang_up_by_default_without_the_watch() {
        let (mut server, mut client) = start(Setup { watch: false, ..Setup::default() }, GET).await;
        client.shut_down_write().await;
        server.cuts_the_handler().await;
    }

    #[tokio::test]
    async fn is_a_hang_up_by_default_with_the_watch() {
        let (mut server, mut client) = start(Setup::default(), GET).await;
        client.shut_down_write().await;
        server.cuts_the_handler().await;
    }

    #[tokio::test]
    async fn gets_its_answer_where_it_is_allowed() {
        for watch in [false, true] {
            let (mut server, mut client) = start(allowed(watch), GET).await;
            client.shut_down_write().await;
            server.runs_the_handler_to_its_end().await;
            client.read_until("done").await;
        }
    }

    #[tokio::test]
    async fn where_it_is_allowed_a_fin_is_not_a_hang_up() {
        for watch in [false, true] {
            let (mut server, client) = start(allowed(watch), GET).await;
            client.fin();
            server.runs_the_handler_to_its_end().await;
        }
    }

    #[tokio::test]
    async fn where_it_is_allowed_hyper_does_not_hear_a_reset() {
        let (mut server, client) = start(allowed(false), GET).await;
        client.rst();
        server.runs_the_handler_to_its_end().await;
    }

    #[tokio::test]
    async fn where_it_is_allowed_the_watch_hears_a_reset() {
        let (mut server, client) = start(allowed(true), GET).await;
        client.rst();
        if cfg!(reqscope_portable) {
            server.runs_the_handler_to_its_end().await;
        } else {
            server.cuts_the_handler().await;
        }
    }

    #[tokio::test]
    async fn a_half_close_before_the_reset_does_not_hide_it() {
        let (mut server, mut client) = start(allowed(true), GET).await;
        client.shut_down_write().await;
        client.rst();
        if cfg!(reqscope_portable) {
            server.runs_the_handler_to_its_end().await;
        } else {
            server.cuts_the_handler().await;
        }
    }
}

mod the_deadline {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    /// It stands for a peer that vanished: there is no packet either way.
    #[tokio::test]
    async fn ends_the_handler_of_a_silent_peer_and_answers_503() {
        let (mut server, mut client) = start(Setup { timeout: Some(SOON), ..Setup::default() }, GET).await;
        server.cuts_the_handler().await;
        let answer = client.read_until("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(server.stop().await.is_clean());
    }

    /// The client's kernel cannot send the FIN while the window is closed.
    #[tokio::test]
    async fn ends_the_handler_whose_peer_closed_behind_more_than_the_window_takes() {
        let setup = Setup { timeout: Some(SOON), ..Setup::default() };
        let (mut server, client) = start(setup, &post(512 * 1024)).await;
        client.fin();
        server.cuts_the_handler().await;
    }

    #[tokio::test]
    async fn is_known_to_the_handler() {
        let told = |request: Request<Incoming>, _context| async move {
            let left = request.scope().deadline().unwrap() - std::time::Instant::now();
            assert!(left <= SOON);
            Ok(Response::new(full("told")))
        };
        let server = Server::start(Setup { timeout: Some(SOON), ..Setup::default() }, told).await;
        let mut client = Client::connect(server.address).await;
        client.send(GET).await;
        client.read_until("told").await;
    }
}

/// Whoever sends and closes at once may get his handler polled once, or not at all; what it took comes back.
#[tokio::test]
async fn a_request_that_comes_with_its_fin_leaves_nothing_behind() {
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
