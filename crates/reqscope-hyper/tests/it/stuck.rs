//! Requests that do not end within the grace of a shutdown are named.
//!
//! The server runs on the thread of the test and its client on a thread of its own, because a handler that blocks a
//! worker also blocks the tasks in that worker's queue.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use reqscope::Scopes;
use reqscope_hyper::{ScopeService, ServeReport, serve};
use reqscope_testkit::until;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::http2::{get_path, goaway, rst_stream};
use crate::support::BOUND;

const SOON: Duration = Duration::from_millis(50);

/// A server that was stopped while it had a request.
struct Stopped {
    report: ServeReport,
    events: Vec<String>,
    scopes: Scopes,
    /// Unblocks a handler that blocks its thread.
    release: mpsc::Sender<()>,
}

/// How a client behaves before the server is stopped.
enum Client {
    StaysConnected,
    /// Sends these bytes, closes, and waits until the server has closed too.
    Disconnects(Vec<u8>),
}

/// Sends the request, waits until its handler runs, lets the client disconnect, and then stops the server. The handler
/// of `/block` blocks its thread, all others wait forever without blocking.
async fn stopped(request: Vec<u8>, behavior: Client, request_grace: Duration, release_grace: Duration) -> Stopped {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scopes = Scopes::new();
    let (release, released) = mpsc::channel::<()>();
    let (released, begun) = (Arc::new(Mutex::new(released)), Arc::new(AtomicBool::new(false)));
    let begins = Arc::clone(&begun);
    let service = service_fn(move |request: Request<Incoming>| {
        let (released, begins) = (Arc::clone(&released), Arc::clone(&begins));
        async move {
            begins.store(true, Relaxed);
            if request.uri().path() == "/block" {
                // The poll of the handler does not return. All else that its worker would run goes on elsewhere: a task
                // that it alone could run, or the events of its sockets, may be what the end of the server waits for.
                block_in_place(|| released.lock().unwrap().recv_timeout(BOUND).ok());
            } else {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let (stop, signal) = oneshot::channel();
    let client = thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(&request).unwrap();
        while !begun.load(Relaxed) {
            thread::yield_now();
        }
        if let Client::Disconnects(goodbye) = behavior {
            client.write_all(&goodbye).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client.set_read_timeout(Some(BOUND)).unwrap();
            client.read_to_end(&mut Vec::new()).expect("the server closes the connection");
        }
        stop.send(()).unwrap();
        client
    });
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    let reported = Arc::clone(&events);
    let server = serve(listener, ScopeService::new(&scopes, service), &scopes)
        .request_grace(request_grace)
        .release_grace(release_grace)
        .on_event(move |event| reported.lock().unwrap().push(format!("{event:?}")))
        .graceful(async { signal.await.unwrap() });
    let report = timeout(BOUND, server.into_future()).await.expect("the shutdown ends");
    drop(client.join().unwrap());
    let events = std::mem::take(&mut *events.lock().unwrap());
    Stopped { report, events, scopes, release }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn waiting_request_is_named_when_it_is_cut() {
    let request = b"GET /wait?a=secret HTTP/1.1\r\nHost: a\r\n\r\n".into();
    let Stopped { report, events, .. } = stopped(request, Client::StaysConnected, SOON, BOUND).await;
    assert_eq!((report.cut, report.stuck), (1, 0), "{report:?}");
    assert!(report.drained.is_clean(), "{report:?}");
    assert_eq!(events, ["RequestCut(GET /wait)"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn blocking_request_is_named_and_left_running() {
    let request = b"POST /block HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".into();
    let Stopped { report, events, scopes, release } = stopped(request, Client::StaysConnected, SOON, SOON).await;
    assert_eq!((report.cut, report.stuck), (1, 1), "{report:?}");
    assert_eq!(report.drained.open_scopes, 1, "{report:?}");
    assert!(!report.is_clean());
    assert_eq!(events, ["RequestCut(POST /block)", "RequestStuck(POST /block)"]);
    release.send(()).unwrap();
    until(BOUND, || scopes.stats().open_scopes == 0).await;
}

/// The connection has ended, and the handler runs in a task that hyper has spawned.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn blocking_http2_request_is_named_after_its_client_left() {
    for goodbye in [vec![], [rst_stream(), goaway()].concat()] {
        // After the close, the connection's task still needs a moment to end. The grace is long enough for that.
        let grace = Duration::from_millis(500);
        let stopped = stopped(get_path("/block"), Client::Disconnects(goodbye), grace, SOON).await;
        let Stopped { report, events, scopes, release } = stopped;
        assert_eq!((report.cut, report.stuck, report.upgraded), (0, 1, 0), "{report:?}");
        assert_eq!(events, ["RequestCut(GET /block)", "RequestStuck(GET /block)"]);
        release.send(()).unwrap();
        until(BOUND, || scopes.stats().open_scopes == 0).await;
    }
}
