use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::service::Service;
use reqscope::context::Label;
use reqscope::{CloseError, Scopes};
use reqscope_http::{Classify, Policy, RequestHead, ResponseFuture, ScopeBody};

/// A hyper [`Service`] that gives each request a scope.
///
/// The scope is opened in `call`. Handlers find it with [`RequestExt::scope`](crate::RequestExt::scope). When the
/// handler has returned, the scope is closed before the head of the response is sent: a COMMIT is awaited, and if it
/// fails the client receives a 500 instead. When the handler is dropped, because its client has disconnected or its
/// timeout has elapsed, the scope closes as `Cancelled`.
///
/// | the handler | the scope closes as | the client receives |
/// |---|---|---|
/// | returns 1xx, 2xx, 3xx | `Completed` | the response, or a 500 if a settling release fails |
/// | returns 4xx, 5xx | `Failed` | the response |
/// | returns a response with an [`Exit`](reqscope::Exit) in its extensions | that exit | as above |
/// | returns an error | `Failed` | nothing: hyper closes the connection |
/// | exceeds the [`timeout`](ScopeService::timeout) | `Cancelled` | 503 with `Retry-After` |
/// | is dropped | `Cancelled` | nothing |
/// | panics | `Panicked` | nothing |
///
/// The body of the response is streamed after the scope has closed. Use a [`LeaseBody`](crate::LeaseBody) for a body
/// that still needs its handle. Put a wrapper that turns panics into a 500 outside of this service: inside, it makes
/// the scope close as `Failed` instead of `Panicked`. An upgraded connection outlives its request; open a scope for it
/// with [`Scopes::open`].
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use http_body_util::{Empty, Full};
/// use hyper::service::{Service, service_fn};
/// use hyper::{Request, Response};
/// use reqscope::{Error, Scopes, resource_fn};
/// use reqscope_hyper::{RequestExt, ScopeService};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let greeting = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(String::from("hello")) }));
/// let scopes = Scopes::new();
/// let service = ScopeService::new(&scopes, service_fn(move |request: Request<Empty<Bytes>>| {
///     let greeting = request.scope().lazy(&greeting);
///     async move {
///         let greeting = greeting.get().await.expect("the greeting never fails");
///         Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(greeting.clone()))))
///     }
/// }));
///
/// let response = service.call(Request::new(Empty::new())).await.unwrap();
/// assert!(response.status().is_success());
/// assert_eq!(scopes.stats().open_scopes, 0);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScopeService<S> {
    inner: S,
    scopes: Scopes,
    policy: Arc<Policy>,
}

impl<S> ScopeService<S> {
    /// Creates a service that gives each request to `inner` a scope of `scopes`.
    pub fn new(scopes: &Scopes, inner: S) -> Self {
        ScopeService { inner, scopes: scopes.clone(), policy: Arc::new(Policy::new()) }
    }

    /// Sets the policy. Defaults to [`Policy::new`]. Replaces everything that earlier calls of the methods below have
    /// set.
    ///
    /// # Examples
    ///
    /// ```
    /// # use reqscope_hyper::ScopeService;
    /// use reqscope_hyper::{ByGrpcStatus, Policy};
    /// use std::time::Duration;
    ///
    /// # fn f<S>(service: ScopeService<S>) -> ScopeService<S> {
    /// service.policy(Policy::new().classify(ByGrpcStatus).timeout(Duration::from_secs(10)))
    /// # }
    /// ```
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        self.map_policy(|_replaced| policy)
    }

    /// Sets how a response is turned into the exit of its scope; see [`Policy::classify`]. Defaults to
    /// [`ByStatus`](crate::ByStatus), because HTTP counts 1xx, 2xx and 3xx as success.
    #[must_use]
    pub fn classify(self, classify: impl Classify) -> Self {
        self.map_policy(|policy| policy.classify(classify))
    }

    /// Sets the maximum time a handler may take to return its response; see [`Policy::timeout`]. Defaults to no limit,
    /// because only the application knows how long its slowest response takes.
    ///
    /// A handler that exceeds it is dropped and answered with a 503. A [`HandlerTimeout`](crate::HandlerTimeout) in the
    /// extensions of that response says how long it ran; with the feature `tracing` it is also a WARN event. Handlers
    /// read the deadline with [`ScopeHandle::deadline`](reqscope::ScopeHandle::deadline).
    ///
    /// # Panics
    ///
    /// With a timeout, the response future panics outside a tokio runtime with timers, as soon as the handler waits.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.map_policy(|policy| policy.timeout(timeout))
    }

    /// Sets the function that labels the scopes of requests, for logs and metrics; see [`Policy::label`]. Defaults to no labels,
    /// because hyper knows no routes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use reqscope_hyper::ScopeService;
    /// use reqscope::context::Label;
    ///
    /// # fn f<S>(service: ScopeService<S>) -> ScopeService<S> {
    /// let (reads, writes) = (Label::new("read"), Label::new("write"));
    /// service.label(move |request| Some(if request.method().is_safe() { reads.clone() } else { writes.clone() }))
    /// # }
    /// ```
    #[must_use]
    pub fn label(self, label: impl Fn(RequestHead<'_>) -> Option<Label> + Send + Sync + 'static) -> Self {
        self.map_policy(|policy| policy.label(label))
    }

    /// Sets the response for a request whose settling release failed, such as a COMMIT; see
    /// [`Policy::on_failed_settle`]. Defaults to an empty 500, because the error may contain details that the client
    /// must not see. In both cases the error is in the extensions of the response, and with the feature `tracing` it is
    /// an ERROR event.
    #[must_use]
    pub fn on_failed_settle(self, respond: impl Fn(&CloseError) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.map_policy(|policy| policy.on_failed_settle(respond))
    }

    fn map_policy(self, map: impl FnOnce(Policy) -> Policy) -> Self {
        ScopeService { policy: Arc::new(map(Arc::unwrap_or_clone(self.policy))), ..self }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
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

    fn call(&self, mut request: Request<A>) -> Self::Future {
        // `opened` owns the scope until the future does, so a panic in the inner `call` closes it.
        let opened = self.policy.open(&self.scopes, &mut request);
        opened.answer(self.inner.call(request))
    }
}
