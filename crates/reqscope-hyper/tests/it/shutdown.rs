//! The end of a server: what is answered, what is cut, and what is reported.

use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use reqscope::Exit;
use reqscope_hyper::RequestExt;
use reqscope_testkit::{Probe, Verb, until};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Answer, BOUND, Client, Context, Event, Server, Setup, full};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SOON: Duration = Duration::from_millis(50);

async fn waits(request: Request<Incoming>, context: Context) -> Answer {
    context.wait(request.scope().clone()).await;
    Ok(Response::new(full("done")))
}

async fn waiting(setup: Setup, probe: Probe) -> (Server, Client) {
    let mut server = Server::start_with(setup, probe, waits).await;
    let mut client = Client::connect(server.address).await;
    client.send(GET).await;
    server.hears(Event::Waits).await;
    (server, client)
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_nobody_new_is_let_in() {
    let (server, mut client) = waiting(Setup::default(), Probe::new()).await;
    let address = server.address;
    let gate = server.gate();
    let stopped = server.begin_to_stop();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    let answer = client.read_until("done").await;
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    let report = stopped.await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.cut, 0);
}

#[tokio::test]
async fn a_request_that_outlasts_the_grace_is_cut_and_its_handle_released() {
    let (server, mut client) = waiting(Setup { request_grace: SOON, ..Setup::default() }, Probe::new()).await;
    let probe = server.probe.clone();
    let report = server.stop().await;
    assert_eq!(report.cut, 1);
    assert!(!report.is_clean(), "{report:?}");
    assert!(report.drained.is_clean(), "{report:?}");
    assert_eq!(probe.releases()[0].exit, Exit::Cancelled);
    assert!(client.read_to_end().await.is_empty());
}

#[tokio::test]
async fn over_http2_too() {
    let mut server = Server::start(Setup { request_grace: SOON, ..Setup::default() }, waits).await;
    let mut client = Client::connect(server.address).await;
    client.send(crate::http2::get()).await;
    server.hears(Event::Waits).await;
    let probe = server.probe.clone();
    let report = server.stop().await;
    assert_eq!(report.cut, 1);
    assert!(report.drained.is_clean(), "the handler ran in a task of its own: {report:?}");
    assert_eq!(probe.releases()[0].exit, Exit::Cancelled);
}

#[tokio::test]
async fn a_release_that_hangs_is_abandoned_and_reported() {
    let probe = Probe::new();
    probe.on(Verb::Release).never();
    let setup = Setup { close_timeout: SOON, ..Setup::default() };
    let (server, client) = waiting(setup, probe.clone()).await;
    drop(client);
    let report = server.stop().await;
    assert_eq!(report.drained.abandoned, 1, "{report:?}");
    assert_eq!(report.drained.live, 0, "{report:?}");
    assert!(!report.is_clean());
}

/// Not only what happens when all requests are over counts.
#[tokio::test]
async fn a_release_that_is_abandoned_while_others_are_answered_is_reported_too() {
    let probe = Probe::new();
    probe.on(Verb::Release).never();
    let (mut server, first) = waiting(Setup { close_timeout: SOON, ..Setup::default() }, probe).await;
    let mut second = Client::connect(server.address).await;
    second.send(GET).await;
    server.hears(Event::Waits).await;
    let (scopes, gate) = (server.scopes.clone(), server.gate());
    let stopped = server.begin_to_stop();
    drop(first);
    until(BOUND, || scopes.stats().abandoned == 1).await;
    gate.add_permits(1);
    second.read_until("done").await;
    let report = stopped.await.unwrap();
    assert_eq!((report.cut, report.drained.abandoned, report.drained.released), (0, 1, 1), "{report:?}");
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let server = Server::start(Setup::default(), |_, _| async { Ok(Response::new(full("hello"))) }).await;
    let mut silent = Client::connect(server.address).await;
    let mut idle = Client::connect(server.address).await;
    idle.send(GET).await;
    idle.read_until("hello").await;
    let report = server.stop().await;
    assert_eq!((report.connections, report.cut, report.failed), (2, 0, 0), "{report:?}");
    silent.read_to_end().await;
    idle.read_to_end().await;
}

#[tokio::test]
async fn dropping_the_server_drops_its_handlers() {
    let (mut server, mut client) = waiting(Setup::default(), Probe::new()).await;
    server.abort().await;
    server.cuts_the_handler().await;
    client.read_to_end().await;
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_handler_that_left_its_guard_to_a_task_is_still_open_in_the_report() {
    async fn leaks(request: Request<Incoming>, context: Context) -> Answer {
        let guard = request.scope().lazy(&context.probe).get().await?;
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(guard);
        });
        Ok(Response::new(full("leaked")))
    }
    let server = Server::start(Setup { release_grace: SOON, ..Setup::default() }, leaks).await;
    let mut client = Client::connect(server.address).await;
    client.send(GET).await;
    client.read_until("leaked").await;
    let report = server.stop().await;
    assert_eq!(report.drained.live, 1, "{report:?}");
    assert!(!report.is_clean());
}

#[tokio::test]
async fn a_port_in_use_is_an_error_of_bind() {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = TcpListener::bind(first.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains("in use"), "{error}");
}
