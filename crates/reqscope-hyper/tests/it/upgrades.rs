//! Upgraded connections: who owns them, and how they end.

use std::net::SocketAddr;
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqscope::Scopes;
use reqscope_hyper::{Connection, ServeMetrics, serve};
use reqscope_testkit::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{BOUND, Client, Serving, empty};

const UPGRADE_ME: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
const SOON: Duration = Duration::from_millis(50);

/// What the owner of an upgraded connection does when the server shuts down.
#[derive(Clone, Copy)]
enum Owner {
    SaysGoodbye,
    ReadsOn,
    KeepsItIdle,
}

struct Echo {
    address: SocketAddr,
    scopes: Scopes,
    metrics: ServeMetrics,
    serving: Serving,
    /// The results of the owners' last reads or writes.
    ends: mpsc::UnboundedReceiver<std::io::Result<()>>,
}

/// Waits for the result of the next owner that has finished.
async fn end(ends: &mut mpsc::UnboundedReceiver<std::io::Result<()>>) -> std::io::Result<()> {
    timeout(BOUND, ends.recv()).await.expect("the owner finishes").unwrap()
}

/// Starts a server that echoes bytes on each upgraded connection, in a scope of its own.
async fn echo(owner: Owner, max_connections: usize) -> Echo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scopes = Scopes::new();
    let (end, ends) = mpsc::unbounded_channel();
    let opens = scopes.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (scope, end) = (opens.open(), end.clone());
        let connection = request.extensions().get::<Connection>().unwrap().clone();
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            let ended = loop {
                select! {
                    byte = io.read_u8(), if !matches!(owner, Owner::KeepsItIdle) => match byte {
                        Ok(byte) => io.write_u8(byte).await.unwrap(),
                        Err(error) => break Err(error),
                    },
                    () = connection.shutting_down(), if matches!(owner, Owner::SaysGoodbye) => {
                        break io.write_all(b"goodbye").await;
                    }
                    () = std::future::pending() => {}
                }
            };
            drop(scope);
            end.send(ended).unwrap();
        });
        async {
            let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            response.header(CONNECTION, "upgrade").header(UPGRADE, "echo").body(empty())
        }
    });
    let server = serve(listener, service, &scopes)
        .max_connections(max_connections)
        .request_grace(if matches!(owner, Owner::SaysGoodbye) { BOUND } else { SOON })
        .release_grace(if matches!(owner, Owner::KeepsItIdle) { SOON } else { BOUND });
    let metrics = server.metrics();
    let serving = Serving::start(|signal| server.graceful(signal).into_future());
    Echo { address, scopes, metrics, serving, ends }
}

async fn upgraded(echo: &Echo) -> Client {
    let mut client = Client::connect(echo.address).await;
    client.send(UPGRADE_ME).await;
    client.read_until("\r\n\r\n").await;
    client.send("x").await;
    client.read_until("x").await;
    client
}

#[tokio::test]
async fn upgraded_connection_is_counted_until_it_is_closed() {
    let mut echo = echo(Owner::ReadsOn, 64).await;
    let client = upgraded(&echo).await;
    until(BOUND, || echo.metrics.upgraded() == 1).await;
    assert_eq!(echo.metrics.connections(), 1);
    client.fin();
    end(&mut echo.ends).await.unwrap_err();
    until(BOUND, || (echo.metrics.upgraded(), echo.metrics.connections()) == (0, 0)).await;
    assert!(echo.serving.stop().await.is_clean());
}

#[tokio::test]
async fn upgraded_connection_counts_towards_the_limit() {
    let echo = echo(Owner::ReadsOn, 1).await;
    let first = upgraded(&echo).await;
    until(BOUND, || echo.metrics.upgraded() == 1).await;
    let mut second = Client::connect(echo.address).await;
    second.send(UPGRADE_ME).await;
    assert!(timeout(2 * SOON, second.read_until("101")).await.is_err());
    first.fin();
    second.read_until("101").await;
}

#[tokio::test]
async fn owner_notified_of_the_shutdown_says_goodbye() {
    let mut echo = echo(Owner::SaysGoodbye, 64).await;
    let mut client = upgraded(&echo).await;
    let stopped = echo.serving.begin_to_stop();
    client.read_until("goodbye").await;
    end(&mut echo.ends).await.unwrap();
    let report = stopped.await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn owner_that_reads_on_is_cut_and_its_scope_drained() {
    let mut echo = echo(Owner::ReadsOn, 64).await;
    let mut client = upgraded(&echo).await;
    until(BOUND, || echo.metrics.upgraded() == 1).await;
    assert_eq!(echo.scopes.stats().open_scopes, 1);
    let report = echo.serving.stop().await;
    let error = end(&mut echo.ends).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    assert_eq!((report.cut, report.upgraded), (1, 0), "{report:?}");
    assert!(report.drained.is_clean() && !report.is_clean(), "{report:?}");
    assert!(client.read_to_end().await.is_empty());
}

#[tokio::test]
async fn connection_kept_after_the_cut_is_reported() {
    let echo = echo(Owner::KeepsItIdle, 64).await;
    let mut client = Client::connect(echo.address).await;
    client.send(UPGRADE_ME).await;
    client.read_until("\r\n\r\n").await;
    until(BOUND, || echo.metrics.upgraded() == 1).await;
    let report = echo.serving.stop().await;
    assert_eq!((report.cut, report.upgraded, report.drained.open_scopes), (1, 1, 1), "{report:?}");
}

#[tokio::test]
async fn dropped_server_cuts_upgraded_connections() {
    let mut echo = echo(Owner::ReadsOn, 64).await;
    let mut client = upgraded(&echo).await;
    echo.serving.abort().await;
    end(&mut echo.ends).await.unwrap_err();
    assert!(client.read_to_end().await.is_empty());
}

/// The handler does not take the upgrade, so the socket is closed and never has an owner.
#[tokio::test]
async fn upgrade_not_taken_is_not_an_upgraded_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service_fn(|_: Request<Incoming>| async {
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        response.header(CONNECTION, "upgrade").header(UPGRADE, "none").body(empty())
    });
    let server = serve(listener, service, &Scopes::new());
    let metrics = server.metrics();
    let serving = Serving::start(|signal| server.graceful(signal).into_future());
    let mut client = Client::connect(address).await;
    client.send(UPGRADE_ME).await;
    client.read_to_end().await;
    until(BOUND, || metrics.connections() == 0).await;
    assert_eq!(metrics.upgraded(), 0);
    assert!(serving.stop().await.is_clean());
}
