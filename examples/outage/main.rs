//! A server whose backend stops, hangs and comes back, and that nobody has to restart.
//!
//! ```text
//! cargo run --release --example outage
//! ```
//!
//! It promises three things, and ends with exit code 1 if one does not hold: what does not need the backend is
//! answered all the time, what needs it fails at once while it is down, and the server is back by itself.
mod act;
mod backend;
mod echo;
mod handlers;

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

use act::act;
use echo::Echo;
use handlers::answer;

/// How long a handler waits for an echo, and the pool for a new connection's first one.
const PATIENCE: Duration = Duration::from_millis(250);

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let hangs = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let first = backend::start(listener, &hangs);

    let pool = Pool::builder().max_size(4).create_timeout(PATIENCE).validate_timeout(PATIENCE);
    let pool = Arc::new(pool.build(Echo(address)));
    let scopes = Scopes::new();
    let service = ScopeService::new(&scopes, service_fn(move |request| answer(request, Arc::clone(&pool))));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving =
        tokio::spawn(serve(listener, service, &scopes).graceful(async { drop(stopped.await) }).into_future());

    let begun = Instant::now();
    let up = act(server, begun, "the backend is up", 1).await?;
    first.abort();
    let down = act(server, begun, "it stops: nobody listens any more", 2).await?;
    let second = backend::start(TcpListener::bind(address).await?, &hangs);
    let back = act(server, begun, "it is back", 1).await?;
    hangs.store(true, Ordering::Relaxed);
    let hung = act(server, begun, "it hangs: it accepts, and never answers", 2).await?;
    hangs.store(false, Ordering::Relaxed);
    let again = act(server, begun, "it answers again", 2).await?;
    println!("{:4.1} s  the server shuts down", begun.elapsed().as_secs_f64());
    drop(stop);
    let report = serving.await?;
    second.abort();

    let within = |took: Option<Duration>, most| took.is_some_and(|took| took < Duration::from_millis(most));
    let promises = [
        (
            "what does not need the backend is answered",
            [&up, &down, &back, &hung, &again].iter().all(|act| act.serves),
        ),
        ("nobody is refused while the backend is up", up.refused_in.is_none()),
        ("a stopped backend is told at once", within(down.refused_in, 50)),
        ("a hung backend is told at once, but to those who look", within(hung.refused_in, 50)),
        ("after a stop the server is back in 0.5 s", within(back.back_after, 500)),
        ("after a hang the server is back in 2 s", within(again.back_after, 2000)),
        ("every connection is accounted for", report.is_clean()),
    ];
    for (promise, holds) in promises {
        println!("{} {promise}", if holds { "✓" } else { "✗" });
    }
    Ok(if promises.iter().all(|(_, holds)| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
