//! The storm's server: hyper, a scope for each request, and the counters.
use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use reqscope::{Lease, Scopes};
use reqscope_hyper::{RequestExt, ScopeService, serve};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::counter::CounterStore;
use crate::handlers::{Body, Handlers, respond};
use crate::ledger::Ledger;
use crate::options::{Kind, Server};
use crate::served::Served;
use crate::sqlite::SqliteStore;
use crate::stage::Progress;
use crate::stats::{Core, Stats};
use crate::store::{Store, Tags};

/// Serves until `signal`.
pub(crate) async fn run(settings: Server, listener: TcpListener, signal: impl Signal) -> Result<Served> {
    let ledger = Arc::new(Ledger::new());
    match settings.resource {
        Kind::Counter => {
            let store = CounterStore::new(&settings, &ledger);
            Ok(serve_store(store, settings, ledger, listener, signal).await)
        }
        Kind::Sqlite => {
            let store = SqliteStore::open(&settings, &ledger).await?;
            Ok(serve_store(store, settings, ledger, listener, signal).await)
        }
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
) -> Served {
    let scopes = Scopes::new();
    let handlers = Arc::new(Handlers::new(store, settings));
    let scoped = Scoped { handlers: Arc::clone(&handlers), ledger: Arc::clone(&ledger) };
    let router = Router {
        handlers: Arc::clone(&handlers),
        ledger,
        scopes: scopes.clone(),
        scoped: ScopeService::new(&scopes, scoped),
    };
    let requests = serve(listener, router, &scopes).release_grace(RELEASE_GRACE).graceful(signal).await;
    Served { requests, pool: handlers.store.close().await }
}

/// Longer than the deadline of a release.
const RELEASE_GRACE: Duration = Duration::from_secs(7);

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The paths that have a scope.
struct Scoped<S> {
    handlers: Arc<Handlers<S>>,
    ledger: Arc<Ledger>,
}

impl<S: Store> Service<Request<Incoming>> for Scoped<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        // Here and not in the future, which may be dropped before it is polled.
        let progress = Progress::begin(self.ledger.books());
        let handlers = Arc::clone(&self.handlers);
        Box::pin(async move { Ok(handlers.answer(request.uri().path(), request.scope(), progress).await) })
    }
}

/// All paths: those that have no scope are answered here.
struct Router<S> {
    handlers: Arc<Handlers<S>>,
    ledger: Arc<Ledger>,
    scopes: Scopes,
    scoped: ScopeService<Scoped<S>>,
}

impl<S: Store> Service<Request<Incoming>> for Router<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let router = self.clone();
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/bare") => {
                let progress = Progress::begin(self.ledger.books());
                Box::pin(async move {
                    progress.done();
                    Ok(respond(StatusCode::OK, "bare"))
                })
            }
            (&Method::GET, "/probe") => Box::pin(async move { Ok(router.probe().await) }),
            (&Method::GET, "/stats") => Box::pin(async move { Ok(answer(router.stats().await)) }),
            (&Method::POST, "/reset") => Box::pin(async move { Ok(answer(router.reset().await)) }),
            (&Method::GET, _) => {
                let response = self.scoped.call(request);
                Box::pin(async move { Ok(response.await?.map(BodyExt::boxed_unsync)) })
            }
            _ => Box::pin(async { Ok(respond(StatusCode::METHOD_NOT_ALLOWED, "not this way")) }),
        }
    }
}

impl<S: Store> Router<S> {
    /// How many of 10 handles can be had at once, and answer within a second.
    async fn probe(&self) -> Response<Body> {
        let lease = async || {
            let mut lease = Lease::acquire_in(self.scopes.reaper(), self.handlers.store.singles()).await?;
            lease.using().read().await?;
            anyhow::Ok(lease)
        };
        // All of them are held until the last one has answered, or has had its second.
        let leases = join_all((0..10).map(|_| timeout(Duration::from_secs(1), lease()))).await;
        let taken: Vec<_> = leases.into_iter().flatten().flatten().collect();
        let count = taken.len();
        for released in join_all(taken.into_iter().map(Lease::complete)).await {
            if let Err(error) = released {
                return respond(StatusCode::INTERNAL_SERVER_ERROR, format!("{:#}", Error::from(error)));
            }
        }
        respond(StatusCode::OK, json!({ "taken": count }).to_string())
    }

    async fn stats(&self) -> Result<String> {
        let rows = self.handlers.store.rows().await?;
        let scopes = self.scopes.stats();
        let reqscope::Stats { acquired, released, abandoned, taken, live, .. } = scopes;
        let core = Core { acquired, released, abandoned, taken, live };
        let (open_scopes, pending_releases) = (scopes.open_scopes, scopes.pending_releases);
        let pool = self.handlers.store.pool();
        let stats = Stats { rows, open_scopes, pending_releases, pool, core, ..self.ledger.books().stats() };
        Ok(serde_json::to_string(&stats)?)
    }

    async fn reset(&self) -> Result<String> {
        self.handlers.store.clear().await?;
        self.ledger.reset();
        Ok(json!({}).to_string())
    }
}

impl<S> Clone for Router<S> {
    fn clone(&self) -> Self {
        Router {
            handlers: Arc::clone(&self.handlers),
            ledger: Arc::clone(&self.ledger),
            scopes: self.scopes.clone(),
            scoped: self.scoped.clone(),
        }
    }
}

impl<S> Clone for Scoped<S> {
    fn clone(&self) -> Self {
        Scoped { handlers: Arc::clone(&self.handlers), ledger: Arc::clone(&self.ledger) }
    }
}

fn answer(outcome: Result<String>) -> Response<Body> {
    match outcome {
        Ok(json) => respond(StatusCode::OK, json),
        Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
    }
}
