//! HTTP/2 clients that answer pings but do not read their responses, over a stream in memory and a paused clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqscope::{Guard, Lease, Pool};
use reqscope_hyper::{LeaseBody, RequestExt};
use reqscope_testkit::Probe;
use tokio::time::sleep;

use crate::support::{Answer, InMemory, Server, Setup, Step};

type Connections = Pool<Probe>;

const SECOND: Duration = Duration::from_secs(1);

/// A server whose responses never end and own a handle of the pool, and an HTTP/2 client of it with this window.
async fn connected(pool: &Arc<Connections>, window: u32, chunk: usize) -> (Server, SendRequest<Empty<Bytes>>) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let pool = Arc::clone(pool);
    let handler = move |request: Request<Incoming>, _| endless(request, Arc::clone(&pool), chunk);
    let listener = InMemory::new([Step::Accepts(server)]);
    let server = Server::start_on(listener, Setup::default(), Probe::new(), handler);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (requests, connection) = builder.handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    (server, requests)
}

async fn endless(request: Request<Incoming>, pool: Arc<Connections>, chunk: usize) -> Answer {
    let lease = Guard::detach(request.scope().lazy(&pool).get().await?);
    let chunk = Bytes::from(vec![0; chunk]);
    let body = LeaseBody::from_fn(lease, move |lease: Lease<Connections>| {
        let chunk = chunk.clone();
        async move { Ok::<_, std::convert::Infallible>((lease, Some(chunk))) }
    });
    Ok(Response::new(body.map_err(Into::into).boxed_unsync()))
}

fn pool(size: usize) -> Arc<Connections> {
    Arc::new(Pool::builder().max_size(size).build(Probe::new()))
}

async fn get(requests: &mut SendRequest<Empty<Bytes>>) -> Response<Incoming> {
    requests.send_request(Request::get("http://a/").body(Empty::new()).unwrap()).await.unwrap()
}

/// One connection with a window of 0 once held every handle of a pool for as long as the client liked.
#[tokio::test(start_paused = true)]
async fn closed_windows_give_the_pool_back() {
    let pool = pool(10);
    let (_server, mut requests) = connected(&pool, 0, 1000).await;
    let mut responses = Vec::new();
    for _ in 0..10 {
        responses.push(get(&mut requests).await);
    }
    assert_eq!(pool.status().in_use, 10);
    sleep(31 * SECOND).await;
    assert_eq!(pool.status().in_use, 0);
    let other = Lease::acquire(&pool).await.unwrap();
    drop((responses, other));
}

/// Reads at this rate, in bytes per second.
async fn read(response: &mut Response<Incoming>, rate: usize, seconds: usize) {
    let mut read = 0;
    for second in 1..=seconds {
        while read < second * rate {
            read += response.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
        sleep(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn reader_of_1_kb_per_second_is_served() {
    let pool = pool(1);
    let (_server, mut requests) = connected(&pool, 1000, 16 << 10).await;
    let mut response = get(&mut requests).await;
    read(&mut response, 1000, 600).await;
    assert_eq!(pool.status().in_use, 1);
}

#[tokio::test(start_paused = true)]
async fn reader_of_100_bytes_per_second_loses_its_handle() {
    let pool = pool(1);
    let (_server, mut requests) = connected(&pool, 100, 16 << 10).await;
    let mut response = get(&mut requests).await;
    read(&mut response, 100, 29).await;
    assert_eq!(pool.status().in_use, 1);
    read(&mut response, 100, 2).await;
    assert_eq!(pool.status().in_use, 0);
    // What the server has buffered, and then the error.
    while let Some(Ok(_)) = response.frame().await {}
}
