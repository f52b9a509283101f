//! A server whose backend stops, hangs and comes back, and that recovers by itself.
//!
//! ```text
//! cargo run --release --example outage
//! ```
//!
//! It promises three things, and ends with exit code 1 if one does not hold: requests that do not need the backend are
//! answered all the time, those that need it fail at once while it is down, and they succeed soon after it is back.
mod backend;
mod echo;
mod handlers;
mod phase;

use std::future::IntoFuture;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use reqscope::{Pool, Scopes};
use reqscope_hyper::{ScopeService, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use echo::Echo;
use handlers::answer;
use phase::observe;

/// How long a handler waits for an echo, and the pool for the first echo of a new connection.
const ECHO_TIMEOUT: Duration = Duration::from_millis(250);

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let hangs = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let first = backend::start(listener, &hangs);

    let pool = Pool::builder().max_size(4).create_timeout(ECHO_TIMEOUT).validate_timeout(ECHO_TIMEOUT);
    let pool = Arc::new(pool.build(Echo(address)));
    let scopes = Scopes::new();
    let service = ScopeService::new(&scopes, service_fn(move |request| answer(request, Arc::clone(&pool))));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving =
        tokio::spawn(serve(listener, service, &scopes).graceful(async { drop(stopped.await) }).into_future());

    let begun = Instant::now();
    let up = observe(server, begun, "the backend is up", 1).await?;
    first.abort();
    let down = observe(server, begun, "it stops: connections are refused", 2).await?;
    let second = backend::start(TcpListener::bind(address).await?, &hangs);
    let back = observe(server, begun, "it is back", 1).await?;
    hangs.store(true, Ordering::Relaxed);
    let hung = observe(server, begun, "it hangs: it accepts, and does not answer", 2).await?;
    hangs.store(false, Ordering::Relaxed);
    let again = observe(server, begun, "it answers again", 2).await?;
    println!("{:4.1} s  the server shuts down", begun.elapsed().as_secs_f64());
    drop(stop);
    let report = serving.await?;
    second.abort();

    let within = |took: Option<Duration>, most| took.is_some_and(|took| took < Duration::from_millis(most));
    // Half of the time that a request takes that waits for the backend.
    let at_once = ECHO_TIMEOUT.as_millis() as u64 / 2;
    let promises = [
        (
            "requests that do not need the backend are answered",
            [&up, &down, &back, &hung, &again].iter().all(|phase| phase.serves),
        ),
        ("no request is refused while the backend is up", up.refusals == 0),
        ("requests fail at once while the backend is stopped", within(down.refused_in, at_once)),
        ("requests fail at once while the backend hangs, except for the probes", within(hung.refused_in, at_once)),
        ("after a stop requests succeed within 0.5 s", within(back.back_after, 500)),
        ("after a hang requests succeed within 2 s", within(again.back_after, 2000)),
        ("every connection is accounted for", report.is_clean()),
    ];
    for (promise, holds) in promises {
        println!("{} {promise}", if holds { "✓" } else { "✗" });
    }
    Ok(if promises.iter().all(|(_, holds)| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
