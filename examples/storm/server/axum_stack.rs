//! The storm's paths on axum: a router, a `ScopeLayer`, and extractors.
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, get, on};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Uri};
use parking_lot::Mutex;
use reqscope_tower::{ScopeLayer, Scoped};
use tower::util::MapRequestLayer;

use crate::client::plan::PATHS;
use crate::server::accounting::Accounting;
use crate::server::control::Control;
use crate::server::handlers::{Cells, respond};
use crate::server::progress::Progress;
use crate::store::{Single, Store, Transaction};

/// The router's state.
struct App<S>(Control<S>);

/// Builds the router of all paths.
pub(crate) fn router<S: Store>(control: Control<S>) -> Router {
    let (accounting, scopes) = (Arc::clone(&control.accounting), control.scopes.clone());
    let mut scoped =
        Router::new().fallback(|| async { respond(StatusCode::NOT_FOUND, "no such path").map(Body::new) });
    for (path, _) in PATHS.into_iter().filter(|(path, _)| *path != "/bare") {
        scoped = scoped.route(path, get(answer::<S>));
    }
    // The last layer is the outermost one.
    let scoped = scoped.layer(begin(&accounting)).layer(ScopeLayer::new(&scopes));

    let mut own = Router::new().route("/bare", get(bare).layer(begin(&accounting)));
    for (method, path) in Control::<S>::PATHS {
        let method = if method == Method::POST { MethodFilter::POST } else { MethodFilter::GET };
        own = own.route(path, on(method, ask::<S>));
    }
    own.merge(scoped).with_state(App(control))
}

/// Answers the storm's paths. The extractors acquire nothing.
async fn answer<S: Store>(
    State(App(control)): State<App<S>>,
    Scoped(single): Scoped<Single<S>>,
    Scoped(transaction): Scoped<Transaction<S>>,
    uri: Uri,
    progress: Progress,
) -> Response {
    control.handlers.answer(uri.path(), Cells { single, transaction }, progress).await.map(Body::new)
}

async fn bare(progress: Progress) -> &'static str {
    progress.done(true);
    "bare"
}

async fn ask<S: Store>(State(App(control)): State<App<S>>, uri: Uri) -> Response {
    control.answer(uri.path()).await.map(Body::new)
}

/// The progress, on its way from `call` to the handler. Extensions must be `Clone`.
#[derive(Clone)]
struct Begun(Arc<Mutex<Option<Progress>>>);

/// Begins a [`Progress`] in `call`, not in the future, which may be dropped before it is polled.
fn begin(accounting: &Arc<Accounting>) -> MapRequestLayer<impl Fn(Request) -> Request + Clone + use<>> {
    let accounting = Arc::clone(accounting);
    MapRequestLayer::new(move |mut request: Request| {
        let begun = Begun(Arc::new(Mutex::new(Some(Progress::begin(accounting.counters())))));
        request.extensions_mut().insert(begun);
        request
    })
}

impl<S: Sync> FromRequestParts<S> for Progress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Progress, Infallible> {
        let begun = parts.extensions.remove::<Begun>().and_then(|begun| begun.0.lock().take());
        Ok(begun.expect("each route that extracts it has the layer, and extracts it once"))
    }
}

impl<S: Store> FromRef<App<S>> for Arc<Single<S>> {
    fn from_ref(App(control): &App<S>) -> Self {
        Arc::clone(control.handlers.store.singles())
    }
}

impl<S: Store> FromRef<App<S>> for Arc<Transaction<S>> {
    fn from_ref(App(control): &App<S>) -> Self {
        Arc::clone(control.handlers.store.transactions())
    }
}

impl<S> Clone for App<S> {
    fn clone(&self) -> Self {
        App(self.0.clone())
    }
}
