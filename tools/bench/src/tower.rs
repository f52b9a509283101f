//! What a scope adds to a request of a tower service, over the same HTTP/1.
//!
//! hyper serves each request with a clone of the service, as it does for axum.

use std::hint::black_box;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use reqscope::Scopes;
use reqscope_tower::{RequestExt, ScopeLayer};
use tower::{Layer, service_fn};

use crate::http::{hello, serve};
use crate::ready::{Ready, UNDER_TOWER};

/// Without the layer.
pub(crate) fn plain(times: usize) {
    serve(times, TowerToHyperService::new(service_fn(|request| async move { hello(&request) })));
}

/// With an unused scope.
pub(crate) fn unused(times: usize) {
    let service = service_fn(|request| async move { hello(&request) });
    serve(times, TowerToHyperService::new(ScopeLayer::new(&Scopes::new()).layer(service)));
}

/// With a scope whose handler acquires a handle and returns the guard.
pub(crate) fn used(times: usize) {
    let ready = &Arc::new(Ready::<UNDER_TOWER>);
    let service = service_fn(|request: Request<Incoming>| async move {
        let lazy = request.scope().lazy(ready);
        drop(black_box(lazy.get().await.expect("it is ready")));
        hello(&request)
    });
    serve(times, TowerToHyperService::new(ScopeLayer::new(&Scopes::new()).layer(service)));
}
