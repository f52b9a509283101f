//! An axum router under `serve`. A service around it opens the scopes; the layer for that is in `reqscope-tower`.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Extension, Router};
use http::StatusCode;
use http::header::{CONNECTION, UPGRADE};
use hyper_util::rt::TokioIo;
use reqscope::{ScopeHandle, Scopes};
use reqscope_hyper::{Connection, RequestExt, ScopeService, TowerToHyperService, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, unix::UCred};

use crate::support::{Client, Serving};

async fn serve_router(router: Router) -> (Serving, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scopes = Scopes::new();
    let service = ScopeService::new(&scopes, TowerToHyperService::new(router));
    (Serving::start(|signal| serve(listener, service, &scopes).graceful(signal).into_future()), address)
}

#[tokio::test]
async fn plain_router_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = TowerToHyperService::new(Router::new().route("/", get(|| async { "hello" })));
    let serving = Serving::start(|signal| serve(listener, router, &Scopes::new()).graceful(signal).into_future());
    let mut client = Client::connect(address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_until("hello").await;
    let mut client = Client::connect(address).await;
    client.send(crate::http2::get()).await;
    client.read_until("hello").await;
    client.fin();
    assert!(serving.stop().await.is_clean());
}

#[tokio::test]
async fn handler_extracts_its_peer_and_its_scope() {
    async fn peer(
        ConnectInfo(by_axum): ConnectInfo<SocketAddr>,
        Extension(connection): Extension<Connection>,
        Extension(scope): Extension<ScopeHandle>,
    ) -> String {
        assert!(!connection.is_shutting_down() && !scope.is_closed());
        format!("{by_axum} is {}", connection.peer())
    }
    async fn connect_info(Extension(connection): Extension<Connection>, mut request: Request) -> Request {
        request.extensions_mut().insert(ConnectInfo(*connection.peer()));
        request
    }
    let router = Router::new().route("/", get(peer)).layer(map_request(connect_info));
    let (serving, address) = serve_router(router).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let own = client.local_addr().unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(&format!("{own} is {own}")), "{answer}");
    assert!(serving.stop().await.is_clean());
}

#[tokio::test]
async fn peer_of_a_unix_socket_is_a_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let peer =
        |Extension(connection): Extension<Connection<UCred>>| async move { format!("{:?}", connection.peer().pid()) };
    let router = TowerToHyperService::new(Router::new().route("/", get(peer)));
    let serving = Serving::start(|signal| serve(listener, router, &Scopes::new()).graceful(signal).into_future());
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let own = i32::try_from(std::process::id()).unwrap();
    assert!(answer.ends_with(&format!("{:?}", Some(own))), "{answer}");
    assert!(serving.stop().await.is_clean());
}

#[tokio::test]
async fn upgrades_work() {
    async fn upgrades(mut request: Request) -> Response {
        let scope = request.scope().clone();
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            assert!(scope.is_closed());
            let byte = io.read_u8().await.unwrap();
            io.write_u8(byte).await.unwrap();
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        response.header(CONNECTION, "upgrade").header(UPGRADE, "echo").body(Body::empty()).unwrap()
    }
    let (serving, address) = serve_router(Router::new().route("/", any(upgrades))).await;
    let mut client = Client::connect(address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    client.read_until("\r\n\r\n").await;
    client.send("x").await;
    client.read_until("x").await;
    client.read_to_end().await;
    assert!(serving.stop().await.is_clean());
}
