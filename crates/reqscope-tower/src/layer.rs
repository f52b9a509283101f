use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use reqscope::{CloseError, Scopes};
use reqscope_http::{Classify, Policy};
use tower_layer::Layer;

use crate::ScopeService;

/// A tower [`Layer`] that gives each request a scope.
///
/// The scope is opened in `call`. The handler finds it through [`RequestExt::scope`](crate::RequestExt::scope) and
/// asks it for what it needs. When the handler has returned, its response is judged and the scope closed with the
/// verdict, before the head is sent: a COMMIT is awaited, and if it fails the client gets a 500 instead. A handler
/// that is dropped, because its client has gone or its time is over, has its scope closed as `Cancelled`.
///
/// | the service inside | the scope closes as | the answer |
/// |---|---|---|
/// | returns 1xx, 2xx, 3xx | `Completed` | its own, or the one for a failed settle |
/// | returns 4xx, 5xx | `Failed` | its own |
/// | returns a response with an [`Exit`](reqscope::Exit) in its extensions | that | as above |
/// | returns an error | `Failed` | that error |
/// | is out of time | `Cancelled` | 503 |
/// | is dropped | `Cancelled` | none |
/// | panics | `Panicked` | none |
///
/// The body of the response is streamed after the scope has ended. One that still needs a handle carries a
/// [`LeaseBody`](crate::LeaseBody). An upgraded connection, such as a WebSocket, outlives its request; it opens a scope of
/// its own with [`Scopes::open`].
///
/// # Where to put it
///
/// **Outside** of timeouts and of all that uses the scope, **inside** of what catches panics:
///
/// ```
/// use axum::Router;
/// use http::StatusCode;
/// use reqscope::Scopes;
/// use reqscope_tower::ScopeLayer;
/// use std::time::Duration;
/// use tower_http::catch_panic::CatchPanicLayer;
/// use tower_http::timeout::TimeoutLayer;
///
/// # let routes = Router::<()>::new();
/// let app = routes // in axum the last layer is the outermost one, and has no effect on routes that come after it
///     .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
///     .layer(ScopeLayer::new(&Scopes::new()))
///     .layer(CatchPanicLayer::new());
/// ```
///
/// | another layer | stands | and if it stands on the other side |
/// |---|---|---|
/// | a timeout | inside, or is [`timeout`](ScopeLayer::timeout) | it gives up on a COMMIT as well, which goes on: the client is told of a timeout, and the work is done |
/// | what catches panics | outside | a panic is told as `Failed` and not as `Panicked`, or as a success if it is answered with one |
/// | what uses the scope: authentication against the database, an extractor in a middleware | inside | it has no scope: a panic of `request.scope()`, a 500 of an extractor |
/// | what turns a success into a failure, or the other way | inside | its answer goes out, and the scope was closed by another one |
/// | tracing, compression, CORS | on either side | |
///
/// One scope per request: of two layers around each other the handler sees the inner one's.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{Empty, Full};
/// use reqscope::{Error, Scopes, resource_fn};
/// use reqscope_tower::{RequestExt, ScopeLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let greeting = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(String::from("hello")) }));
/// let scopes = Scopes::new();
/// let service = ServiceBuilder::new().layer(ScopeLayer::new(&scopes)).service_fn(|request: Request<Empty<Bytes>>| {
///     let greeting = request.scope().lazy(&greeting);
///     async move {
///         let greeting = greeting.get().await.expect("it is ready");
///         Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(greeting.clone()))))
///     }
/// });
///
/// let response = service.oneshot(Request::new(Empty::new())).await.unwrap();
/// assert!(response.status().is_success());
/// assert_eq!(scopes.stats().open_scopes, 0);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScopeLayer {
    scopes: Scopes,
    policy: Arc<Policy>,
}

impl ScopeLayer {
    /// Gives each request a scope of `scopes`.
    pub fn new(scopes: &Scopes) -> Self {
        ScopeLayer { scopes: scopes.clone(), policy: Arc::new(Policy::new()) }
    }

    /// Judges responses in another way than by their status, which [`ByStatus`](crate::ByStatus) does by default: 1xx,
    /// 2xx and 3xx are a success, as HTTP has it. See [`Classify`].
    ///
    /// ```
    /// # use reqscope_tower::ScopeLayer;
    /// use reqscope_tower::ByGrpcStatus;
    ///
    /// # fn f(layer: ScopeLayer) -> ScopeLayer {
    /// layer.classify(ByGrpcStatus) // for tonic
    /// # }
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
    /// ([`ScopeHandle::deadline`](reqscope::ScopeHandle::deadline)), which it cannot of a timeout layer.
    ///
    /// # Panics
    ///
    /// `call` panics then outside a tokio runtime with timers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use reqscope_tower::ScopeLayer;
    /// use std::time::Duration;
    ///
    /// # fn f(layer: ScopeLayer) -> ScopeLayer {
    /// layer.timeout(Duration::from_secs(10))
    /// # }
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.policy).set_timeout(timeout);
        self
    }

    /// What to answer where a release that mattered to the client failed, a COMMIT for example.
    ///
    /// By default an empty 500. The error names what went wrong; the client should not see it. The handler's own
    /// response is dropped. A panic in the answer passes on, as one of the handler does.
    ///
    /// ```
    /// # use http::{Response, StatusCode};
    /// # use reqscope_tower::ScopeLayer;
    /// # fn f(layer: ScopeLayer) -> ScopeLayer {
    /// layer.on_failed_settle(|error| {
    ///     eprintln!("{error}");
    ///     let mut response = Response::new("nothing was changed, please try again".into());
    ///     *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    ///     response
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn on_failed_settle(
        mut self,
        answer: impl Fn(&CloseError) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.policy).set_on_failed_settle(answer);
        self
    }
}

impl<S> Layer<S> for ScopeLayer {
    type Service = ScopeService<S>;

    fn layer(&self, inner: S) -> ScopeService<S> {
        ScopeService::new(inner, self.scopes.clone(), Arc::clone(&self.policy))
    }
}
