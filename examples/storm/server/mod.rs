//! The storm's server: a store, and the stack that stands on it.
pub(crate) mod accounting;
#[cfg(feature = "axum")]
mod axum_stack;
pub(crate) mod control;
mod handlers;
mod hyper_stack;
pub(crate) mod pause;
pub(crate) mod shutdown;
pub(crate) mod stack;
pub(crate) mod stage;
pub(crate) mod stats;
pub(crate) mod tracked;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use reqscope::Scopes;
use reqscope_hyper::serve;
use tokio::net::TcpListener;

#[cfg(feature = "mysql")]
use crate::options::Fault;
use crate::options::{Kind, Server};
use crate::server::accounting::Ledger;
use crate::server::control::Questions;
use crate::server::handlers::Handlers;
use crate::server::hyper_stack::HyperStack;
use crate::server::shutdown::Served;
use crate::server::stack::Stack;
use crate::store::Store;
use crate::store::memory::CounterStore;
#[cfg(feature = "mysql")]
use crate::store::mysql::{CarelessStore, MySqlStore};
use crate::store::sqlite::SqliteStore;

/// Longer than the deadline of a release.
const RELEASE_GRACE: Duration = Duration::from_secs(7);

/// Serves until `signal`.
pub(crate) async fn run(settings: Server, listener: TcpListener, signal: impl Signal) -> Result<Served> {
    settings.check()?;
    let ledger = Arc::new(Ledger::new());
    match settings.resource {
        Kind::Counter => {
            let store = CounterStore::new(&settings, &ledger);
            serve_store(store, settings, ledger, listener, signal).await
        }
        Kind::Sqlite => {
            let store = SqliteStore::open(&settings, &ledger).await?;
            serve_store(store, settings, ledger, listener, signal).await
        }
        #[cfg(feature = "mysql")]
        Kind::Mysql if settings.r#break == Some(Fault::Shift) => {
            let store = CarelessStore::open(&settings, &ledger).await?;
            serve_store(store, settings, ledger, listener, signal).await
        }
        #[cfg(feature = "mysql")]
        Kind::Mysql => {
            let store = MySqlStore::open(&settings, &ledger).await?;
            serve_store(store, settings, ledger, listener, signal).await
        }
        #[cfg(not(feature = "mysql"))]
        Kind::Mysql => unreachable!("the check has refused it"),
    }
}

pub(crate) async fn bind(port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

pub(crate) trait Signal: Future<Output = ()> + Send + 'static {}
impl<F: Future<Output = ()> + Send + 'static> Signal for F {}

async fn serve_store<S: Store>(
    store: S,
    settings: Server,
    ledger: Arc<Ledger>,
    listener: TcpListener,
    signal: impl Signal,
) -> Result<Served> {
    let scopes = Scopes::new();
    let (stack, handlers) = (settings.stack, Arc::new(Handlers::new(store, settings)));
    let questions = Questions { handlers: Arc::clone(&handlers), ledger, scopes: scopes.clone() };
    let requests = match stack {
        Stack::Hyper => {
            let serving = serve(listener, HyperStack::new(questions), &scopes);
            serving.release_grace(RELEASE_GRACE).graceful(signal).await
        }
        #[cfg(feature = "axum")]
        Stack::Axum => {
            let router = reqscope_hyper::TowerToHyperService::new(crate::server::axum_stack::router(questions));
            serve(listener, router, &scopes).release_grace(RELEASE_GRACE).graceful(signal).await
        }
        #[cfg(not(feature = "axum"))]
        Stack::Axum => unreachable!("the check has refused it"),
    };
    Ok(Served { requests, closed: handlers.store.close().await? })
}
