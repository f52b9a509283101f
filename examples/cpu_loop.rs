//! A loop that keeps a core busy, and stops when its client has gone.
//!
//! ```text
//! cargo run --example cpu_loop
//! ```
//!
//! Dropping a future stops it at its next `.await`. A loop that only computes has none. On a thread of the runtime it
//! would hold up other tasks, so it runs in `spawn_blocking`, where it cannot be dropped. It has to check whether its
//! scope is closed; otherwise it would keep its core busy for an answer that no client reads.
use std::convert::Infallible;
use std::future::IntoFuture;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use reqscope::{ScopeHandle, Scopes};
use reqscope_hyper::{RequestExt, ScopeService, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Searches for a number that never comes down to 1. None is known.
fn collatz(scope: &ScopeHandle) -> u64 {
    let mut tried = 0;
    // One atomic load per round costs next to nothing.
    while !scope.is_closed() {
        tried += 1;
        let mut number = tried;
        while number != 1 {
            number = if number % 2 == 0 { number / 2 } else { 3 * number + 1 };
        }
    }
    tried
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let log = move |what: &str| println!("{:4} ms  {what}", begun.elapsed().as_millis());

    let handler = move |request: Request<Incoming>| {
        // A `ScopeHandle` may be moved anywhere. It does not keep the scope open.
        let scope = request.scope().clone();
        let tried = spawn_blocking(move || {
            log("the loop begins");
            let tried = collatz(&scope);
            log(&format!("the loop ends, after {tried} numbers"));
            tried
        });
        async move {
            let text = tried.await.map_or("the loop panicked".into(), |tried| format!("tried {tried} numbers"));
            Ok::<_, Infallible>(Response::new(text))
        }
    };

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let scopes = Scopes::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve(listener, ScopeService::new(&scopes, service_fn(handler)), &scopes);
    let server = tokio::spawn(server.graceful(async { drop(stopped.await) }).into_future());

    let mut client = TcpStream::connect(address)?;
    client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    sleep(Duration::from_millis(200)).await;
    log("the client hangs up");
    drop(client);
    sleep(Duration::from_millis(200)).await;

    log("the server shuts down");
    drop(stop);
    server.await?;
    // The runtime waits for its blocking threads: without the check above this program would not end.
    Ok(())
}
