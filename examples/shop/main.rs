//! A small shop: users, products, orders and a report, as a real service would have them.
//!
//! ```text
//! cargo run --example shop --features axum -- 8080 shop.db
//! ```
//!
//! Without a file the database is temporary. A first customer:
//!
//! ```text
//! curl -d '{"name":"ann"}' -H 'content-type: application/json' http://localhost:8080/users
//! curl http://localhost:8080/products -H 'authorization: Bearer …'
//! ```
//!
//! Each request works in one transaction, which its authentication and its handler share (`Tx` in `db.rs`). It is
//! committed before a success is answered, and rolled back under every other answer.
mod error;
mod db;
mod migrations;
mod users;
mod auth;
mod products;
mod events;
mod orders;
mod report;
mod health;
mod app;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, io};

use reqscope::error::Chain;
use reqscope::observer::{Abandoned, Subject};
use reqscope::{Exit, Observer, Scopes};
use reqscope_hyper::{TowerToHyperService, serve};
use reqscope_sqlite::Sqlite;
use tokio::net::TcpListener;
use tokio::signal;

use crate::db::Db;
use crate::error::AnyError;

#[tokio::main]
async fn main() -> Result<ExitCode, AnyError> {
    let mut arguments = env::args().skip(1);
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let sqlite = match arguments.next() {
        Some(file) => Sqlite::new(file),
        None => Sqlite::temporary()?,
    };
    let stop = stop_signal()?;

    let db = Db::new(sqlite);
    let scopes = Scopes::builder().observer(Log).build();
    migrations::run(&db, &scopes).await?; // before the first request
    let service = TowerToHyperService::new(app::router(db.clone(), &scopes));

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}    (ctrl-c ends it)", listener.local_addr()?);
    let served = serve(listener, service, &scopes).on_event(|event| eprintln!("{event:?}")).graceful(stop).await;
    // No request is left. What is idle in the pool is closed now.
    let closed = db.connections.close(Duration::from_secs(5)).await;
    println!("{} connections served, {:?}", served.connections, served.drained);
    Ok(if served.is_clean() && closed.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns a future that is ready on ctrl-c, and on the SIGTERM that a service manager or a container platform sends.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    })
}

/// Returns a future that is ready on ctrl-c.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut ctrl_c = signal::windows::ctrl_c()?;
    Ok(async move { drop(ctrl_c.recv().await) })
}

/// Logs what happens after a request has been answered or dropped, when no handler is left that could return an error.
struct Log;

impl Observer for Log {
    fn release_failed(&self, of: Subject, exit: Exit, error: &(dyn Error + 'static)) {
        eprintln!("release as {exit:?} of a handle taken at {}: {}", of.taken_at, Chain(error));
    }

    fn abandoned(&self, of: Subject, exit: Exit, why: Abandoned) {
        eprintln!("abandoned as {exit:?}: a handle taken at {}: {why}", of.taken_at);
    }
}
