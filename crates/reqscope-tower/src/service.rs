use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use reqscope::Scopes;
use reqscope_http::{Policy, ResponseFuture, ScopeBody};
use tower_service::Service;

/// A tower [`Service`] whose requests each have a scope; made by a [`ScopeLayer`](crate::ScopeLayer), which says what
/// happens in it.
///
/// It is ready when the service inside is, and `Clone`, `Send` and `Sync` when that is.
///
/// To name a service in a signature:
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
    scopes: Scopes,
    policy: Arc<Policy>,
}

impl<S> ScopeService<S> {
    pub(crate) fn new(inner: S, scopes: Scopes, policy: Arc<Policy>) -> Self {
        ScopeService { inner, scopes, policy }
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside. What is called through it has no scope.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the wrapper off.
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
        // The scope belongs to `opened` until the future has it: a panic in the inner `call` drops it.
        let opened = self.policy.open(&self.scopes, &mut request);
        opened.answer(self.inner.call(request))
    }
}
