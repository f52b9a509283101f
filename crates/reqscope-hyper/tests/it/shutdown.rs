//! Shutdown: what is answered, what is cut, and what is reported.

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
    server.expect_event(Event::Waits).await;
    (server, client)
}

#[tokio::test]
async fn request_in_flight_is_answered_and_no_new_one_accepted() {
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
async fn request_exceeding_the_grace_is_cut_and_released() {
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
async fn http2_request_exceeding_the_grace_is_cut_and_released() {
    let mut server = Server::start(Setup { request_grace: SOON, ..Setup::default() }, waits).await;
    let mut client = Client::connect(server.address).await;
    client.send(crate::http2::get()).await;
    server.expect_event(Event::Waits).await;
    let probe = server.probe.clone();
    let report = server.stop().await;
    assert_eq!(report.cut, 1);
    assert!(report.drained.is_clean(), "the handler ran in a task of its own: {report:?}");
    assert_eq!(probe.releases()[0].exit, Exit::Cancelled);
}

#[tokio::test]
async fn hanging_release_is_abandoned_and_reported() {
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

/// The report covers the whole shutdown, not only the time after the last request.
#[tokio::test]
async fn release_abandoned_while_others_are_answered_is_reported() {
    let probe = Probe::new();
    probe.on(Verb::Release).never();
    let (mut server, first) = waiting(Setup { close_timeout: SOON, ..Setup::default() }, probe).await;
    let mut second = Client::connect(server.address).await;
    second.send(GET).await;
    server.expect_event(Event::Waits).await;
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
async fn idle_connections_do_not_delay_the_shutdown() {
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
async fn dropped_server_drops_its_handlers() {
    let (mut server, mut client) = waiting(Setup::default(), Probe::new()).await;
    server.abort().await;
    server.expect_handler_dropped().await;
    client.read_to_end().await;
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn guard_kept_by_a_task_is_live_in_the_report() {
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
async fn port_in_use_is_an_error_of_bind() {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = TcpListener::bind(first.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains("in use"), "{error}");
}
