use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::service::Service;
use reqscope::{CloseError, Scopes};
use reqscope_http::{Classify, Policy, ResponseFuture, ScopeBody};

/// A hyper [`Service`] whose requests each have a scope.
///
/// The scope is opened in `call`. The handler finds it through [`RequestExt::scope`](crate::RequestExt::scope) and
/// asks it for what it needs. When the handler has returned, its response is judged and the scope closed with the
/// verdict, before the head is sent: a COMMIT is awaited, and if it fails the client gets a 500 instead. A handler
/// that is dropped, because its client has gone or its time is over, has its scope closed as `Cancelled`.
///
/// | the handler | the scope closes as | the answer |
/// |---|---|---|
/// | returns 1xx, 2xx, 3xx | `Completed` | its own, or the one for a failed settle |
/// | returns 4xx, 5xx | `Failed` | its own |
/// | returns a response with an [`Exit`](reqscope::Exit) in its extensions | that | as above |
/// | returns an error | `Failed` | none: hyper closes the connection |
/// | is out of time | `Cancelled` | 503 |
/// | is dropped | `Cancelled` | none |
/// | panics | `Panicked` | none |
///
/// The body of the response is streamed after the scope has ended. One that still needs a handle carries a
/// [`LeaseBody`](crate::LeaseBody). A panic that a wrapper *inside* of this service turns into a 500 is a `Failed`
/// one; put such a wrapper outside. An upgraded connection outlives its request; it opens a scope of its own with
/// [`Scopes::open`].
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
///         let greeting = greeting.get().await.expect("it is ready");
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
    /// Gives each request to `inner` a scope of `scopes`.
    pub fn new(scopes: &Scopes, inner: S) -> Self {
        ScopeService { inner, scopes: scopes.clone(), policy: Arc::new(Policy::new()) }
    }

    /// Judges responses in another way than by their status, which [`ByStatus`](reqscope_http::ByStatus) does by
    /// default: 1xx, 2xx and 3xx are a success, as HTTP has it. See [`Classify`].
    ///
    /// ```
    /// use http::{HeaderMap, StatusCode};
    /// use reqscope::Exit;
    /// # use reqscope_hyper::ScopeService;
    ///
    /// # fn f<S>(service: ScopeService<S>) {
    /// // Only a plain 200 commits.
    /// service.classify(|status: StatusCode, _: &HeaderMap| match status {
    ///     StatusCode::OK => Exit::Completed,
    ///     _ => Exit::Failed,
    /// })
    /// # ;}
    /// ```
    #[must_use]
    pub fn classify(mut self, classify: impl Classify) -> Self {
        Arc::make_mut(&mut self.policy).set_classify(classify);
        self
    }

    /// Gives each handler so long to return its response; then it is dropped, and the answer is a 503.
    ///
    /// By default there is no limit, since only you know how long your slowest answer takes. Set one: it is all that
    /// helps against a peer that vanishes without a packet. It begins with the call, and ends with the handler: neither
    /// the close of the scope nor the body counts. The handler can ask until when it has time
    /// ([`ScopeHandle::deadline`](reqscope::ScopeHandle::deadline)).
    ///
    /// # Panics
    ///
    /// `call` panics then outside a tokio runtime with timers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use reqscope_hyper::ScopeService;
    /// use std::time::Duration;
    ///
    /// # fn f<S>(service: ScopeService<S>) {
    /// service.timeout(Duration::from_secs(10))
    /// # ;}
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.policy).set_timeout(timeout);
        self
    }

    /// What to answer where a release that mattered to the client failed, a COMMIT for example.
    ///
    /// By default an empty 500. The error names what went wrong; the client should not see it. The handler's own
    /// response is dropped. A panic in the answer takes the connection down, as one of the handler does.
    ///
    /// ```
    /// # use http::{Response, StatusCode};
    /// # use reqscope_hyper::ScopeService;
    /// # fn f<S>(service: ScopeService<S>) {
    /// service.on_failed_settle(|error| {
    ///     eprintln!("{error}");
    ///     let mut response = Response::new("nothing was changed, please try again".into());
    ///     *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    ///     response
    /// })
    /// # ;}
    /// ```
    #[must_use]
    pub fn on_failed_settle(
        mut self,
        answer: impl Fn(&CloseError) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.policy).set_on_failed_settle(answer);
        self
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
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

    fn call(&self, mut request: Request<A>) -> Self::Future {
        // The scope belongs to `opened` until the future has it: a panic in the inner `call` drops it.
        let opened = self.policy.open(&self.scopes, &mut request);
        opened.answer(self.inner.call(request))
    }
}
