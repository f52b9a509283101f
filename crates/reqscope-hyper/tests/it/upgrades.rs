//! Connections that are not HTTP any more: whose they are, and how they end.

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
enum Manners {
    SaysGoodbye,
    ReadsOn,
    OnlyKeepsIt,
}

struct Echo {
    address: SocketAddr,
    scopes: Scopes,
    metrics: ServeMetrics,
    serving: Serving,
    /// How the reads of the owners ended.
    ends: mpsc::UnboundedReceiver<std::io::Result<()>>,
}

/// How the next owner's read ended.
async fn end(ends: &mut mpsc::UnboundedReceiver<std::io::Result<()>>) -> std::io::Result<()> {
    timeout(BOUND, ends.recv()).await.expect("it ends").unwrap()
}

/// Echoes bytes in a scope of its own for each upgraded connection.
async fn echo(manners: Manners, max_connections: usize) -> Echo {
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
                    byte = io.read_u8(), if !matches!(manners, Manners::OnlyKeepsIt) => match byte {
                        Ok(byte) => io.write_u8(byte).await.unwrap(),
                        Err(error) => break Err(error),
                    },
                    () = connection.shutting_down(), if matches!(manners, Manners::SaysGoodbye) => {
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
        .request_grace(if matches!(manners, Manners::SaysGoodbye) { BOUND } else { SOON })
        .release_grace(if matches!(manners, Manners::OnlyKeepsIt) { SOON } else { BOUND });
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
async fn they_are_counted_until_they_are_closed() {
    let mut echo = echo(Manners::ReadsOn, 64).await;
    let client = upgraded(&echo).await;
    until(BOUND, || echo.metrics.upgraded() == 1).await;
    assert_eq!(echo.metrics.connections(), 1);
    client.fin();
    end(&mut echo.ends).await.unwrap_err();
    until(BOUND, || (echo.metrics.upgraded(), echo.metrics.connections()) == (0, 0)).await;
    assert!(echo.serving.stop().await.is_clean());
}

#[tokio::test]
async fn they_keep_their_place_within_the_limit() {
    let echo = echo(Manners::ReadsOn, 1).await;
    let first = upgraded(&echo).await;
    until(BOUND, || echo.metrics.upgraded() == 1).await;
    let mut second = Client::connect(echo.address).await;
    second.send(UPGRADE_ME).await;
    assert!(timeout(2 * SOON, second.read_until("101")).await.is_err());
    first.fin();
    second.read_until("101").await;
}

#[tokio::test]
async fn they_hear_of_the_shutdown_and_say_goodbye() {
    let mut echo = echo(Manners::SaysGoodbye, 64).await;
    let mut client = upgraded(&echo).await;
    let stopped = echo.serving.begin_to_stop();
    client.read_until("goodbye").await;
    end(&mut echo.ends).await.unwrap();
    let report = stopped.await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn those_that_go_on_are_cut_and_their_scopes_drained() {
    let mut echo = echo(Manners::ReadsOn, 64).await;
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
async fn those_that_are_kept_all_the_same_are_told() {
    let echo = echo(Manners::OnlyKeepsIt, 64).await;
    let mut client = Client::connect(echo.address).await;
    client.send(UPGRADE_ME).await;
    client.read_until("\r\n\r\n").await;
    until(BOUND, || echo.metrics.upgraded() == 1).await;
    let report = echo.serving.stop().await;
    assert_eq!((report.cut, report.upgraded, report.drained.open_scopes), (1, 1, 1), "{report:?}");
}

#[tokio::test]
async fn dropping_the_server_cuts_them() {
    let mut echo = echo(Manners::ReadsOn, 64).await;
    let mut client = upgraded(&echo).await;
    echo.serving.abort().await;
    end(&mut echo.ends).await.unwrap_err();
    assert!(client.read_to_end().await.is_empty());
}

/// The socket goes into an upgrade that nobody takes: it is closed, and was never anybody's.
#[tokio::test]
async fn an_upgrade_that_nobody_takes_is_no_upgraded_connection() {
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
