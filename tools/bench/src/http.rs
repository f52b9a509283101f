//! What a scope adds to a request: HTTP/1 over a stream in memory, with client and server polled by hand in turn.

use std::convert::Infallible;
use std::error::Error;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqscope::Scopes;
use reqscope_hyper::{RequestExt, ScopeService};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OnceCell;

use crate::poll::{now, once};
use crate::ready::{ALONE, HANDLE, Ready};

pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n";
pub(crate) const HELLO: &str = "hello";

pub(crate) type Answer = Result<Response<Full<Bytes>>, Infallible>;

/// Answers a request. Every handler here keeps its request until it returns, as most do: a handler that drops it in
/// `call` returns the read buffer to hyper sooner and saves an allocation, which has nothing to do with the scope.
pub(crate) fn hello(request: &Request<Incoming>) -> Answer {
    black_box(request);
    Ok(Response::new(Full::from(HELLO)))
}

/// The floor: hyper and nothing else.
pub(crate) fn plain(times: usize) {
    serve(times, service_fn(|request| async move { hello(&request) }));
}

/// With an unused scope.
pub(crate) fn unused(times: usize) {
    let handler = |request| async move { hello(&request) };
    serve(times, ScopeService::new(&Scopes::new(), service_fn(handler)));
}

/// With a scope whose handler acquires a handle and returns the guard.
pub(crate) fn used(times: usize) {
    let ready = &Arc::new(Ready::<ALONE>);
    let handler = |request: Request<Incoming>| async move {
        let lazy = request.scope().lazy(ready);
        drop(black_box(lazy.get().await.expect("it is ready")));
        hello(&request)
    };
    serve(times, ScopeService::new(&Scopes::new(), service_fn(handler)));
}

/// The least that brings a value to a handler: an unused `Arc` in the extensions of the request.
pub(crate) fn once_cell_unused(times: usize) {
    let handler = |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::new(OnceCell::<u64>::new()));
        async move { hello(&request) }
    };
    serve(times, service_fn(handler));
}

/// The same, with a handler that makes the value.
pub(crate) fn once_cell_used(times: usize) {
    let handler = |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::new(OnceCell::<u64>::new()));
        async move {
            let cell: &Arc<OnceCell<u64>> = request.extensions().get().expect("it was inserted above");
            black_box(cell.get_or_init(async || HANDLE).await);
            hello(&request)
        }
    };
    serve(times, service_fn(handler));
}

/// Sends requests one after the other over one connection.
pub(crate) fn serve<S, B>(times: usize, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error: Error + Send + Sync> + 'static,
{
    let (mut client, server) = tokio::io::duplex(4096);
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(server), service));
    let mut response = [0; 4096];
    for _ in 0..times {
        now(client.write_all(REQUEST)).expect("there is room");
        assert!(once(connection.as_mut()).is_pending(), "the connection waits for the next request");
        let length = now(client.read(&mut response)).expect("the server has answered");
        assert!(response[..length].ends_with(HELLO.as_bytes()), "the answer is whole");
    }
}
