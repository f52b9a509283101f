use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use reqscope::context::Label;
use reqscope::{CloseError, Scopes};
use reqscope_http::{Classify, Policy, RequestHead};
use tower_layer::Layer;

use crate::ScopeService;
use crate::service::Settings;

/// A tower [`Layer`] that gives each request a scope.
///
/// The scope is opened in `call`. Handlers find it with [`RequestExt::scope`](crate::RequestExt::scope), or with the
/// extractors of the feature `axum`. When the handler has returned, the scope is closed before the head of the response
/// is sent: a COMMIT is awaited, and if it fails the client receives a 500 instead. When the handler is dropped,
/// because its client has disconnected or its timeout has elapsed, the scope closes as `Cancelled`.
///
/// | the inner service | the scope closes as | the client receives |
/// |---|---|---|
/// | returns 1xx, 2xx, 3xx | `Completed` | the response, or a 500 if a settling release fails |
/// | returns 4xx, 5xx | `Failed` | the response |
/// | returns a response with an [`Exit`](reqscope::Exit) in its extensions | that exit | as above |
/// | returns an error | `Failed` | what the outer services make of the error |
/// | exceeds the [`timeout`](ScopeLayer::timeout) | `Cancelled` | 503 with `Retry-After` |
/// | is dropped | `Cancelled` | nothing |
/// | panics | `Panicked` | nothing |
///
/// The body of the response is streamed after the scope has closed. Use a [`LeaseBody`](crate::LeaseBody) for a body
/// that still needs its handle. An upgraded connection, such as a WebSocket, outlives its request; open a scope for it
/// with [`Scopes::open`].
///
/// # Where to put it
///
/// **Outside** of timeouts and of everything that uses the scope, **inside** of layers that catch panics:
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
/// let app = routes // in axum the last layer is the outermost, and does not apply to routes added after it
///     .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)))
///     .layer(ScopeLayer::new(&Scopes::new()))
///     .layer(CatchPanicLayer::new());
/// ```
///
/// | other layer | place it | otherwise |
/// |---|---|---|
/// | timeout | inside, or use [`timeout`](ScopeLayer::timeout) | it also cuts the wait for the COMMIT, which continues in the background: the client sees a timeout although its work is done |
/// | catching panics | outside | a panic closes the scope as `Failed` instead of `Panicked`, or as `Completed` if the layer responds with a success |
/// | using the scope: authentication against the database, an extractor in a middleware | inside | it finds no scope: `request.scope()` panics, an extractor responds with a 500 |
/// | turning a success into a failure, or the reverse | inside | the client receives a response that does not match how the scope was closed |
/// | tracing, compression, CORS | on either side | |
///
/// If two of these layers wrap a handler, it sees the scope of the inner one.
///
/// # A failed COMMIT
///
/// The client receives an empty 500, or the response of [`on_failed_settle`](ScopeLayer::on_failed_settle). The
/// [`CloseError`] is in the extensions of that response, for a layer further out:
///
/// ```
/// use axum::Router;
/// use axum::middleware::map_response;
/// use axum::response::Response;
/// use reqscope::{CloseError, Scopes};
/// use reqscope_tower::ScopeLayer;
///
/// async fn alert(response: Response) -> Response {
///     if let Some(error) = response.extensions().get::<CloseError>() {
///         let unknown = error.is_unknown_outcome(); // the COMMIT may have happened all the same
///         eprintln!("not committed (outcome unknown: {unknown}): {error}");
///     }
///     response
/// }
///
/// # let routes = Router::<()>::new();
/// let app = routes.layer(ScopeLayer::new(&Scopes::new())).layer(map_response(alert));
/// # drop(app);
/// ```
///
/// With the feature `tracing` it is also an event of level ERROR and target `reqscope::scope`, with all its causes and
/// the label of the scope. That includes the requests that have no such response, because their client disconnected
/// during the COMMIT.
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
///         let greeting = greeting.get().await.expect("the greeting never fails");
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
    settings: Arc<Settings>,
}

impl ScopeLayer {
    /// Creates a layer that gives each request a scope of `scopes`.
    pub fn new(scopes: &Scopes) -> Self {
        ScopeLayer { settings: Arc::new(Settings { scopes: scopes.clone(), policy: Arc::new(Policy::new()) }) }
    }

    /// Sets the policy. Defaults to [`Policy::new`]. Replaces everything that earlier calls of the methods below have
    /// set.
    ///
    /// # Examples
    ///
    /// ```
    /// # use reqscope_tower::ScopeLayer;
    /// use reqscope_tower::{ByGrpcStatus, Policy};
    /// use std::time::Duration;
    ///
    /// # fn f(layer: ScopeLayer) -> ScopeLayer {
    /// layer.policy(Policy::new().classify(ByGrpcStatus).timeout(Duration::from_secs(10)))
    /// # }
    /// ```
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        self.map_policy(|_replaced| policy)
    }

    /// Sets how a response is turned into the exit of its scope; see [`Policy::classify`]. Defaults to
    /// [`ByStatus`](crate::ByStatus), because HTTP counts 1xx, 2xx and 3xx as success.
    ///
    /// # Examples
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
    pub fn classify(self, classify: impl Classify) -> Self {
        self.map_policy(|policy| policy.classify(classify))
    }

    /// Sets the maximum time a handler may take to return its response; see [`Policy::timeout`]. Defaults to no limit,
    /// because only the application knows how long its slowest response takes.
    ///
    /// A handler that exceeds it is dropped and answered with a 503. A [`HandlerTimeout`](crate::HandlerTimeout) in the
    /// extensions of that response says how long it ran; with the feature `tracing` it is also a WARN event. Unlike
    /// with a timeout layer, handlers can read the deadline
    /// ([`ScopeHandle::deadline`](reqscope::ScopeHandle::deadline)), and the wait for the COMMIT is never cut.
    ///
    /// # Panics
    ///
    /// With a timeout, the response future panics outside a tokio runtime with timers, as soon as the handler waits.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.map_policy(|policy| policy.timeout(timeout))
    }

    /// Sets the function that labels the scopes of requests, for logs and metrics; see [`Policy::label`]. Defaults to the
    /// method and the matched route in an axum router (feature `axum`), such as `GET /orders/{id}`, and to none elsewhere.
    ///
    /// axum matches the route before it calls a layer that was added with `Router::layer` or `route_layer`. A layer
    /// around the whole router, and the fallback of a router, have no route and so no label. A method that HTTP does not
    /// define is shown as `_OTHER`, because a client can invent any number of them.
    ///
    /// # Examples
    ///
    /// The method of a gRPC call is its path:
    ///
    /// ```
    /// # use reqscope_tower::ScopeLayer;
    /// use reqscope::context::Label;
    ///
    /// # fn f(layer: ScopeLayer) -> ScopeLayer {
    /// layer.label(|request| Some(Label::new(request.uri().path())))
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
        let Settings { scopes, policy } = Arc::unwrap_or_clone(self.settings);
        let policy = Arc::new(map(Arc::unwrap_or_clone(policy)));
        ScopeLayer { settings: Arc::new(Settings { scopes, policy }) }
    }
}

impl<S> Layer<S> for ScopeLayer {
    type Service = ScopeService<S>;

    fn layer(&self, inner: S) -> ScopeService<S> {
        ScopeService::new(inner, Arc::clone(&self.settings))
    }
}
