//! Handlers that a shutdown cannot wait for are named.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use reqscope::Scopes;
use reqscope_hyper::{RequestExt, ScopeService, serve};
use reqscope_testkit::until;
use tokio::net::TcpListener;

use crate::support::{BOUND, Client, Serving};

const SOON: Duration = Duration::from_millis(50);

type Heard = Arc<Mutex<Vec<String>>>;

struct Blocking {
    address: SocketAddr,
    scopes: Scopes,
    serving: Serving,
    heard: Heard,
    release: mpsc::Sender<()>,
}

/// `/block` blocks its thread until the test lets it go, everything else waits for ever in good order.
async fn blocking() -> Blocking {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scopes = Scopes::new();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let service = service_fn(move |request: Request<Incoming>| {
        let released = Arc::clone(&released);
        async move {
            assert!(!request.scope().is_closed());
            if request.uri().path() == "/block" {
                released.lock().unwrap().recv_timeout(BOUND).ok();
            } else {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let heard = Heard::default();
    let hear = Arc::clone(&heard);
    let server = serve(listener, ScopeService::new(&scopes, service), &scopes)
        .request_grace(SOON)
        .release_grace(SOON)
        .on_trouble(move |trouble| hear.lock().unwrap().push(format!("{trouble:?}")));
    let serving = Serving::start(|signal| server.graceful(signal).into_future());
    Blocking { address, scopes, serving, heard, release }
}

async fn called(server: &Blocking, request: impl AsRef<[u8]>) -> Client {
    let before = server.scopes.stats().opened_scopes;
    let mut client = Client::connect(server.address).await;
    client.send(request).await;
    until(BOUND, || server.scopes.stats().opened_scopes == before + 1).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_that_waits_is_named_when_it_is_cut() {
    let server = blocking().await;
    let _client = called(&server, "GET /wait?token=secret HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let report = server.serving.stop().await;
    assert_eq!((report.cut, report.stuck), (1, 0), "{report:?}");
    assert!(report.drained.is_clean(), "{report:?}");
    assert_eq!(*server.heard.lock().unwrap(), ["Cut(GET /wait)"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_that_blocks_its_thread_is_named_and_left_behind() {
    let server = blocking().await;
    let _client = called(&server, "POST /block HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    let report = server.serving.stop().await;
    assert_eq!((report.cut, report.stuck), (1, 1), "{report:?}");
    assert_eq!(report.drained.open_scopes, 1, "{report:?}");
    assert!(!report.is_clean());
    assert_eq!(*server.heard.lock().unwrap(), ["Cut(POST /block)", "Stuck(POST /block)"]);
    server.release.send(()).unwrap();
    until(BOUND, || server.scopes.stats().open_scopes == 0).await;
}

/// Its connection is gone, and its task is none that the server has spawned.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn over_http2_too_even_where_its_client_has_gone() {
    let server = blocking().await;
    let client = called(&server, crate::http2::get_path("/block")).await;
    client.fin();
    let report = server.serving.stop().await;
    assert_eq!((report.cut, report.stuck, report.hung_up), (0, 1, 1), "{report:?}");
    assert_eq!(*server.heard.lock().unwrap(), ["Cut(GET /block)", "Stuck(GET /block)"]);
    server.release.send(()).unwrap();
    until(BOUND, || server.scopes.stats().open_scopes == 0).await;
}
