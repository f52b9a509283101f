//! The storm's server: a store, and the stack on top of it.
pub(crate) mod accounting;
#[cfg(feature = "axum")]
mod axum_stack;
pub(crate) mod control;
mod handlers;
mod hyper_stack;
pub(crate) mod pause;
pub(crate) mod progress;
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
use crate::options::{ResourceKind, ServerOptions};
use crate::server::accounting::Accounting;
use crate::server::control::Control;
use crate::server::handlers::Handlers;
use crate::server::hyper_stack::HyperStack;
use crate::server::shutdown::Shutdown;
use crate::server::stack::Stack;
use crate::store::Store;
use crate::store::memory::MemoryStore;
#[cfg(feature = "mysql")]
use crate::store::mysql::{MySqlStore, UncheckedStore};
use crate::store::sqlite::SqliteStore;

/// How long the shutdown waits for releases. Longer than the deadline of one.
const RELEASE_GRACE: Duration = Duration::from_secs(7);

/// Serves until `signal` is ready, with the store and the stack that the options name.
pub(crate) async fn run(settings: ServerOptions, listener: TcpListener, signal: impl Signal) -> Result<Shutdown> {
    settings.check()?;
    let accounting = Arc::new(Accounting::new());
    match settings.resource {
        ResourceKind::Memory => {
            let store = MemoryStore::new(&settings, &accounting);
            serve_store(store, settings, accounting, listener, signal).await
        }
        ResourceKind::Sqlite => {
            let store = SqliteStore::open(&settings, &accounting).await?;
            serve_store(store, settings, accounting, listener, signal).await
        }
        #[cfg(feature = "mysql")]
        ResourceKind::Mysql if settings.r#break == Some(Fault::Shift) => {
            let store = UncheckedStore::open(&settings, &accounting).await?;
            serve_store(store, settings, accounting, listener, signal).await
        }
        #[cfg(feature = "mysql")]
        ResourceKind::Mysql => {
            let store = MySqlStore::open(&settings, &accounting).await?;
            serve_store(store, settings, accounting, listener, signal).await
        }
        #[cfg(not(feature = "mysql"))]
        ResourceKind::Mysql => unreachable!("`check` has refused it"),
    }
}

/// Listens on a loopback port.
pub(crate) async fn bind(port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// A future that is ready when the server should stop.
pub(crate) trait Signal: Future<Output = ()> + Send + 'static {}
impl<F: Future<Output = ()> + Send + 'static> Signal for F {}

async fn serve_store<S: Store>(
    store: S,
    settings: ServerOptions,
    accounting: Arc<Accounting>,
    listener: TcpListener,
    signal: impl Signal,
) -> Result<Shutdown> {
    let scopes = Scopes::new();
    let (stack, handlers) = (settings.stack, Arc::new(Handlers::new(store, settings)));
    let control = Control { handlers: Arc::clone(&handlers), accounting, scopes: scopes.clone() };
    let requests = match stack {
        Stack::Hyper => {
            let serving = serve(listener, HyperStack::new(control), &scopes);
            serving.release_grace(RELEASE_GRACE).graceful(signal).await
        }
        #[cfg(feature = "axum")]
        Stack::Axum => {
            let router = reqscope_hyper::TowerToHyperService::new(crate::server::axum_stack::router(control));
            serve(listener, router, &scopes).release_grace(RELEASE_GRACE).graceful(signal).await
        }
        #[cfg(not(feature = "axum"))]
        Stack::Axum => unreachable!("`check` has refused it"),
    };
    Ok(Shutdown { requests, closed: handlers.store.close().await? })
}
