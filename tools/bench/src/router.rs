//! What the layer adds to a request of an axum router, over the same HTTP/1.
//!
//! A router boxes the service of each of its layers, and the body of each response, so the floor has a layer that does
//! nothing.

use std::hint::black_box;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use reqscope::Scopes;
use reqscope_tower::{RequestExt, ScopeLayer};
use tower::layer::util::Identity;

use crate::http::{HELLO, serve};
use crate::ready::{IN_A_ROUTER, Ready};

/// With a layer that does nothing.
pub(crate) fn plain(times: usize) {
    serve(times, TowerToHyperService::new(Router::new().route("/", get(hello)).layer(Identity::new())));
}

/// With an unused scope.
pub(crate) fn unused(times: usize) {
    let layer = ScopeLayer::new(&Scopes::new());
    serve(times, TowerToHyperService::new(Router::new().route("/", get(hello)).layer(layer)));
}

/// With a scope whose handler acquires a handle and returns the guard.
pub(crate) fn used(times: usize) {
    let ready = Arc::new(Ready::<IN_A_ROUTER>);
    let handler = async move |request: Request| {
        let lazy = request.scope().lazy(&ready);
        drop(black_box(lazy.get().await.expect("it is ready")));
        hello(request).await
    };
    let layer = ScopeLayer::new(&Scopes::new());
    serve(times, TowerToHyperService::new(Router::new().route("/", get(handler)).layer(layer)));
}

/// Keeps its request until it returns, as the handlers of the other rows do.
async fn hello(request: Request) -> &'static str {
    black_box(&request);
    HELLO
}
