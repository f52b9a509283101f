use std::convert::Infallible;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use reqscope::ScopeHandle;
use reqscope_http::RequestExt;

use crate::ScopeError;

/// Extracts the scope of the request.
///
/// Use it for resources that are not in the router's state, or not needed by every request:
/// [`lazy`](ScopeHandle::lazy) takes any `Arc` of a resource. For a resource in the state, [`Scoped`](crate::Scoped) is
/// shorter. `Option<RequestScope>` is `None` if no layer has opened a scope.
///
/// axum's `Extension<ScopeHandle>` extracts the same scope, with a different error if the layer is missing.
///
/// # Errors
///
/// Rejects with a [`ScopeError`] if the [`ScopeLayer`](crate::ScopeLayer) is missing.
///
/// # Examples
///
/// A loop that stops when its client has disconnected:
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use reqscope_tower::RequestScope;
/// use tokio::task::spawn_blocking;
///
/// async fn primes(RequestScope(scope): RequestScope) -> String {
///     let search = move || (2..).take_while(|_| !scope.is_closed()).take(1000).count();
///     spawn_blocking(search).await.expect("the search does not panic").to_string()
/// }
///
/// let app: Router = Router::new().route("/primes", get(primes));
/// ```
#[derive(Clone, Debug)]
pub struct RequestScope(pub ScopeHandle);

impl<S: Sync> FromRequestParts<S> for RequestScope {
    type Rejection = ScopeError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ScopeError> {
        Ok(RequestScope(parts.try_scope()?.clone()))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for RequestScope {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.try_scope().ok().cloned().map(RequestScope))
    }
}
