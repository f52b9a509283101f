//! The two stacks, and how a server of each is started.

use std::future::IntoFuture;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use reqscope_hyper::{RequestExt, ScopeService, ServeReport, serve};
use reqscope_testkit::Probe;
use reqscope_tower::{RequestScope, ScopeLayer, Scoped};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::Layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::body::WatchedBody;
use crate::fixture::{Call, Fixture};
use crate::handler::{Handler, watch};
use crate::layers::{AsTower, Layers};
use crate::{BoxError, Setup};

/// What the server consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// A `ScopeService` around a hyper service.
    Hyper,
    /// A `ScopeLayer` around an axum `Router`.
    Axum,
}

impl Stack {
    /// Returns its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stack::Hyper => "hyper",
            Stack::Axum => "axum",
        }
    }

    /// Starts a server that calls the handler, until `stop`.
    pub(crate) fn start(
        self,
        listener: TcpListener,
        fixture: Fixture,
        handler: Handler,
        stop: oneshot::Receiver<()>,
    ) -> JoinHandle<ServeReport> {
        match self {
            Stack::Hyper => serve_hyper(listener, fixture, handler, stop),
            Stack::Axum => serve_axum(listener, fixture, handler, stop),
        }
    }
}

fn serve_hyper(
    listener: TcpListener,
    fixture: Fixture,
    handler: Handler,
    stop: oneshot::Receiver<()>,
) -> JoinHandle<ServeReport> {
    let setup = fixture.setup;
    let shared = fixture.clone();
    let inner = service_fn(move |request: Request<Incoming>| -> WatchedFuture {
        let (scope, fixture) = (request.scope().clone(), shared.clone());
        let lazy = scope.lazy(&fixture.probe);
        let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
        Box::pin(watch(handler, Call { request, scope, lazy, fixture }))
    });
    match setup.layers {
        Layers::None => listen(listener, in_scope(&fixture, inner), &fixture, stop),
        Layers::PanicsCaughtInside => {
            let inner = TowerToHyperService::new(CatchPanicLayer::new().layer(AsTower(inner)));
            listen(listener, in_scope(&fixture, inner), &fixture, stop)
        }
        Layers::TimeoutInside => {
            let inner = TowerToHyperService::new(timeout().layer(AsTower(inner)));
            listen(listener, in_scope(&fixture, inner), &fixture, stop)
        }
        Layers::PanicsCaughtOutside => {
            let outer = CatchPanicLayer::new().layer(AsTower(in_scope(&fixture, inner)));
            listen(listener, TowerToHyperService::new(outer), &fixture, stop)
        }
        Layers::TimeoutOutside => {
            let outer = timeout().layer(AsTower(in_scope(&fixture, inner)));
            listen(listener, TowerToHyperService::new(outer), &fixture, stop)
        }
    }
}

type WatchedFuture = crate::BoxFuture<'static, Result<Response<WatchedBody>, BoxError>>;

fn in_scope<S>(fixture: &Fixture, inner: S) -> ScopeService<S> {
    let service = ScopeService::new(&fixture.scopes, inner);
    match fixture.setup.timeout {
        Some(timeout) => service.timeout(timeout),
        None => service,
    }
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Setup::SOON)
}

#[derive(Clone)]
struct App {
    fixture: Fixture,
    handler: Handler,
}

impl axum::extract::FromRef<App> for Arc<Probe> {
    fn from_ref(app: &App) -> Self {
        app.fixture.probe.clone()
    }
}

async fn handle(
    State(App { fixture, handler }): State<App>,
    RequestScope(scope): RequestScope,
    Scoped(lazy): Scoped<Probe>,
    request: Request<Body>,
) -> Response<Body> {
    let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
    match watch(handler, Call { request, scope, lazy, fixture }).await {
        Ok(response) => response.map(Body::new),
        // axum handlers return no errors.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn serve_axum(
    listener: TcpListener,
    fixture: Fixture,
    handler: Handler,
    stop: oneshot::Receiver<()>,
) -> JoinHandle<ServeReport> {
    let setup = fixture.setup;
    let mut scope = ScopeLayer::new(&fixture.scopes);
    if let Some(timeout) = setup.timeout {
        scope = scope.timeout(timeout);
    }
    let app: Router = Router::new().fallback(handle).with_state(App { fixture: fixture.clone(), handler });
    let app = match setup.layers {
        Layers::None => app.layer(scope),
        Layers::PanicsCaughtInside => app.layer(CatchPanicLayer::new()).layer(scope),
        Layers::PanicsCaughtOutside => app.layer(scope).layer(CatchPanicLayer::new()),
        Layers::TimeoutInside => app.layer(timeout()).layer(scope),
        Layers::TimeoutOutside => app.layer(scope).layer(timeout()),
    };
    listen(listener, TowerToHyperService::new(app), &fixture, stop)
}

fn listen<S, B>(
    listener: TcpListener,
    service: S,
    fixture: &Fixture,
    stop: oneshot::Receiver<()>,
) -> JoinHandle<ServeReport>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let Setup { ping, half_close, request_grace, release_grace, .. } = fixture.setup;
    let server = serve(listener, service, &fixture.scopes)
        .half_close(half_close)
        .max_connections(16)
        .request_grace(request_grace)
        .release_grace(release_grace)
        .http(|http| {
            http.http2().enable_connect_protocol();
            if let Some(ping) = ping {
                http.http2().keep_alive_interval(ping).keep_alive_timeout(10 * ping);
            }
        })
        .graceful(async { stop.await.unwrap_or(()) });
    tokio::spawn(server.into_future())
}
