use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use reqscope::Scopes;
use reqscope_http::{Policy, ResponseFuture, ScopeBody};
use tower_service::Service;

/// A tower [`Service`] that gives each request a scope, created by [`ScopeLayer`](crate::ScopeLayer). The docs of the
/// layer describe what happens to a request.
///
/// The service is ready when the inner service is ready, and it is `Clone`, `Send` and `Sync` if the inner service is.
///
/// # Examples
///
/// Naming the service in a struct:
///
/// ```
/// use reqscope::Scopes;
/// use reqscope_tower::{ScopeLayer, ScopeService};
/// use tower::Layer;
///
/// struct App<S> {
///     inner: ScopeService<S>,
/// }
///
/// impl<S> App<S> {
///     fn new(scopes: &Scopes, service: S) -> Self {
///         App { inner: ScopeLayer::new(scopes).layer(service) }
///     }
/// }
///
/// assert_eq!(App::new(&Scopes::new(), 7).inner.into_inner(), 7);
/// ```
#[derive(Clone, Debug)]
pub struct ScopeService<S> {
    inner: S,
    settings: Arc<Settings>,
}

/// What all services of one layer share. In one `Arc`, because axum and hyper clone a service for each request.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) scopes: Scopes,
    pub(crate) policy: Arc<Policy>,
}

impl<S> ScopeService<S> {
    pub(crate) fn new(inner: S, settings: Arc<Settings>) -> Self {
        ScopeService { inner, settings }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service. Requests sent through it have no scope.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, A, B> Service<Request<A>> for ScopeService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<ScopeBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        // `opened` owns the scope until the future does, so a panic in the inner `call` closes it.
        let opened = self.settings.policy.open(&self.settings.scopes, &mut request);
        #[cfg(feature = "axum")]
        opened.default_label(|| crate::route::label(&request));
        opened.answer(self.inner.call(request))
    }
}
