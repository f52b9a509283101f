//! Handlers that a shutdown cannot wait for are named.
//!
//! The server runs on the thread of the test, and its client on one of its own: what waits in the queue of a worker that a
//! handler blocks, waits as long as that.

use std::convert::Infallible;
use std::io::Write;
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
use tokio::time::timeout;

use crate::http2::{get_path, goaway, rst_stream};
use crate::support::BOUND;

const SOON: Duration = Duration::from_millis(50);

/// A server that was stopped while it had a request.
struct Stopped {
    report: ServeReport,
    heard: Vec<String>,
    scopes: Scopes,
    /// Lets a handler go that blocks.
    release: mpsc::Sender<()>,
}

/// Sends the request, waits until its handler runs, leaves if there is a goodbye, and then stops the server. `/block` blocks
/// its thread, everything else waits for ever in good order.
async fn stopped(request: Vec<u8>, goodbye: Option<Vec<u8>>) -> Stopped {
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
                released.lock().unwrap().recv_timeout(BOUND).ok();
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
        if let Some(goodbye) = goodbye {
            client.write_all(&goodbye).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
        stop.send(()).unwrap();
        client
    });
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hear = Arc::clone(&heard);
    let server = serve(listener, ScopeService::new(&scopes, service), &scopes)
        .request_grace(SOON)
        .release_grace(SOON)
        .on_event(move |event| hear.lock().unwrap().push(format!("{event:?}")))
        .graceful(async { signal.await.unwrap() });
    let report = timeout(BOUND, server.into_future()).await.expect("the shutdown ends");
    drop(client.join().unwrap());
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    Stopped { report, heard, scopes, release }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_that_waits_is_named_when_it_is_cut() {
    let Stopped { report, heard, .. } = stopped(b"GET /wait?a=secret HTTP/1.1\r\nHost: a\r\n\r\n".into(), None).await;
    assert_eq!((report.cut, report.stuck), (1, 0), "{report:?}");
    assert!(report.drained.is_clean(), "{report:?}");
    assert_eq!(heard, ["RequestCut(GET /wait)"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_that_blocks_its_thread_is_named_and_left_behind() {
    let request = b"POST /block HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".into();
    let Stopped { report, heard, scopes, release } = stopped(request, None).await;
    assert_eq!((report.cut, report.stuck), (1, 1), "{report:?}");
    assert_eq!(report.drained.open_scopes, 1, "{report:?}");
    assert!(!report.is_clean());
    assert_eq!(heard, ["RequestCut(POST /block)", "RequestStuck(POST /block)"]);
    release.send(()).unwrap();
    until(BOUND, || scopes.stats().open_scopes == 0).await;
}

/// Its connection is gone, and its task is none that the server has spawned.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn over_http2_too_even_where_its_client_has_gone() {
    for goodbye in [vec![], [rst_stream(), goaway()].concat()] {
        let Stopped { report, heard, scopes, release } = stopped(get_path("/block"), Some(goodbye)).await;
        assert_eq!((report.cut, report.stuck, report.upgraded), (0, 1, 0), "{report:?}");
        assert_eq!(heard, ["RequestCut(GET /block)", "RequestStuck(GET /block)"]);
        release.send(()).unwrap();
        until(BOUND, || scopes.stats().open_scopes == 0).await;
    }
}
