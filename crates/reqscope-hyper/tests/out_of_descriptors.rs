//! A server that runs out of descriptors. In a binary of its own, because the limit applies to the process.
#![cfg(unix)]

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use reqscope::Scopes;
use reqscope_hyper::serve;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

const CLIENTS: usize = 20;
/// Enough for five connections with their watches.
const FREE: u64 = 10;

#[tokio::test]
async fn server_out_of_descriptors_waits_and_serves_all_clients() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        clients.push(client);
    }

    // The next descriptor gets the lowest free number, and the limit applies to the number.
    let next = listener.as_fd().try_clone_to_owned().unwrap().as_raw_fd();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(u64::try_from(next).unwrap() + FREE);
    setrlimit(Resource::Nofile, limit).unwrap();

    let service =
        service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(String::from("hello"))) });
    let scopes = Scopes::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = serve(listener, service, &scopes).max_connections(1000).graceful(async { drop(stopped.await) });
    let served = tokio::spawn(serving.into_future());

    // The clients keep their connections open until they have their response, so only a few fit at a time.
    for mut client in clients {
        let answer = timeout(Duration::from_secs(60), client.read(&mut [0; 1024])).await;
        assert!(answer.expect("every client is served").unwrap() > 0);
    }
    stop.send(()).unwrap();
    let report = served.await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(report.accept_errors > 0, "the server never ran out: {report:?}");
    assert!(report.accept_errors < 100, "the server retried without a pause: {report:?}");
}
