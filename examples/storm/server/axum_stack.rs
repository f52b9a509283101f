//! The storm's paths on axum: a router, the layer, and extractors.
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
use crate::server::accounting::Ledger;
use crate::server::control::Questions;
use crate::server::handlers::{Cells, respond};
use crate::server::stage::Progress;
use crate::store::{Single, Store, Transaction};

/// The router's state.
struct App<S>(Questions<S>);

/// All paths.
pub(crate) fn router<S: Store>(questions: Questions<S>) -> Router {
    let (ledger, scopes) = (Arc::clone(&questions.ledger), questions.scopes.clone());
    let mut scoped =
        Router::new().fallback(|| async { respond(StatusCode::NOT_FOUND, "no such path").map(Body::new) });
    for (path, _) in PATHS.into_iter().filter(|(path, _)| *path != "/bare") {
        scoped = scoped.route(path, get(answer::<S>));
    }
    // The last layer is the outermost one.
    let scoped = scoped.layer(begin(&ledger)).layer(ScopeLayer::new(&scopes));

    let mut own = Router::new().route("/bare", get(bare).layer(begin(&ledger)));
    for (method, path) in Questions::<S>::ALL {
        let method = if method == Method::POST { MethodFilter::POST } else { MethodFilter::GET };
        own = own.route(path, on(method, ask::<S>));
    }
    own.merge(scoped).with_state(App(questions))
}

/// A handler on the storm's paths. What the extractors find has not been acquired.
async fn answer<S: Store>(
    State(App(questions)): State<App<S>>,
    Scoped(single): Scoped<Single<S>>,
    Scoped(transaction): Scoped<Transaction<S>>,
    uri: Uri,
    progress: Progress,
) -> Response {
    questions.handlers.answer(uri.path(), Cells { single, transaction }, progress).await.map(Body::new)
}

async fn bare(progress: Progress) -> &'static str {
    progress.done(true);
    "bare"
}

async fn ask<S: Store>(State(App(questions)): State<App<S>>, uri: Uri) -> Response {
    questions.answer(uri.path()).await.map(Body::new)
}

/// On its way from the call to the handler: what is in the extensions has to be `Clone`.
#[derive(Clone)]
struct Begun(Arc<Mutex<Option<Progress>>>);

/// In the call and not in its future, which may be dropped before it is polled.
fn begin(ledger: &Arc<Ledger>) -> MapRequestLayer<impl Fn(Request) -> Request + Clone + use<>> {
    let ledger = Arc::clone(ledger);
    MapRequestLayer::new(move |mut request: Request| {
        let begun = Begun(Arc::new(Mutex::new(Some(Progress::begin(ledger.books())))));
        request.extensions_mut().insert(begun);
        request
    })
}

impl<S: Sync> FromRequestParts<S> for Progress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Progress, Infallible> {
        let begun = parts.extensions.remove::<Begun>().and_then(|begun| begun.0.lock().take());
        Ok(begun.expect("each of the routes that ask has the layer, and asks once"))
    }
}

impl<S: Store> FromRef<App<S>> for Arc<Single<S>> {
    fn from_ref(App(questions): &App<S>) -> Self {
        Arc::clone(questions.handlers.store.singles())
    }
}

impl<S: Store> FromRef<App<S>> for Arc<Transaction<S>> {
    fn from_ref(App(questions): &App<S>) -> Self {
        Arc::clone(questions.handlers.store.transactions())
    }
}

impl<S> Clone for App<S> {
    fn clone(&self) -> Self {
        App(self.0.clone())
    }
}
