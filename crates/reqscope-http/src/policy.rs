use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use reqscope::context::Label;
use reqscope::{CloseError, Exit};
use tokio::time::Instant;

use crate::{ByStatus, Classify, HandlerTimeout, RequestHead, ScopeBody};

/// Decides how the scopes of requests are closed and what the client receives, in the same way for every front end.
///
/// A policy is its own builder: start with [`new`](Policy::new) and pass the result to `ScopeService::policy` of
/// `reqscope-hyper` or `ScopeLayer::policy` of `reqscope-tower`. A front end keeps it in an [`Arc`], calls
/// [`open`](Policy::open) in its `call`, and wraps the handler's future with [`Opened::answer`](crate::Opened::answer).
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use http::{HeaderMap, Response, StatusCode};
/// use reqscope::Exit;
/// use reqscope::error::Chain;
/// use reqscope_http::{ByStatus, Classify, Policy};
/// use std::time::Duration;
///
/// let policy = Policy::new()
///     .timeout(Duration::from_secs(10))
///     .classify(|status: StatusCode, headers: &HeaderMap| match status {
///         StatusCode::NOT_FOUND => Exit::Completed,
///         _ => ByStatus.classify(status, headers),
///     })
///     .on_failed_settle(|error| {
///         eprintln!("{}", Chain(error));
///         let mut response = Response::new(Bytes::from("the order may not be saved"));
///         *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
///         response
///     });
/// # drop(policy);
/// ```
#[derive(Clone)]
pub struct Policy {
    classify: Arc<dyn Classify>,
    timeout: Option<Duration>,
    label: Option<Arc<LabelOf>>,
    on_failed_settle: Arc<OnFailedSettle>,
}

type LabelOf = dyn Fn(RequestHead<'_>) -> Option<Label> + Send + Sync;

type OnFailedSettle = dyn Fn(&CloseError) -> Response<Bytes> + Send + Sync;

impl Policy {
    /// Creates a policy that classifies responses by status, sets no timeout, and answers a failed settle with an empty
    /// 500.
    pub fn new() -> Self {
        Policy {
            classify: Arc::new(ByStatus),
            timeout: None,
            label: None,
            on_failed_settle: Arc::new(|_| internal_error()),
        }
    }

    /// Sets how a response is turned into the [`Exit`] of its scope. Defaults to [`ByStatus`], because HTTP counts 1xx,
    /// 2xx and 3xx as success.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{HeaderMap, StatusCode};
    /// use reqscope::Exit;
    /// use reqscope_http::Policy;
    ///
    /// // Only a plain 200 commits.
    /// let policy = Policy::new().classify(|status: StatusCode, _: &HeaderMap| match status {
    ///     StatusCode::OK => Exit::Completed,
    ///     _ => Exit::Failed,
    /// });
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn classify(mut self, classify: impl Classify) -> Self {
        self.classify = Arc::new(classify);
        self
    }

    /// Sets the maximum time a handler may take to return its response. Defaults to no limit, because only the
    /// application knows how long its slowest response takes.
    ///
    /// A handler that exceeds it is dropped, its scope closes as [`Exit::Cancelled`], and the response is an empty 503
    /// with `Retry-After: 1`, as for an acquisition that timed out: its transaction is rolled back, so the request can
    /// be repeated. If handlers have effects that are not rolled back, remove the header in a layer outside. A
    /// [`HandlerTimeout`] in its extensions says how long the handler ran, with the label of the request; with the
    /// feature `tracing` it is also a WARN event.
    ///
    /// The time runs from [`open`](Policy::open) until the handler returns: neither the close of the scope, which has a
    /// limit of its own in [`Scopes`](reqscope::Scopes), nor the response body counts. Handlers read the deadline with
    /// [`ScopeHandle::deadline`](reqscope::ScopeHandle::deadline), and their acquisitions wait no longer than until then.
    ///
    /// Set the timeouts of pools below it. A handler that still waits for a connection is dropped with everything else,
    /// and the error that would say what it waited for is never made.
    ///
    /// Setting a timeout is recommended: without one, a peer that disappears without closing its connection may be
    /// noticed late or not at all.
    ///
    /// # Panics
    ///
    /// With a timeout, the response future panics outside a tokio runtime with timers, as soon as the handler waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use reqscope_http::Policy;
    /// use std::time::Duration;
    ///
    /// let policy = Policy::new().timeout(Duration::from_secs(10));
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the function that labels the scopes of requests; see [`Label`]. It replaces the front end's own labels, also
    /// where it returns `None`. Defaults to those: the matched route in an axum router, and none elsewhere, because the
    /// path of a request has too many values and may contain secrets.
    ///
    /// It is called for each request, before the handler. A clone of a label that was created once costs least. A panic
    /// in it propagates like a panic of the handler.
    ///
    /// # Examples
    ///
    /// ```
    /// use reqscope::context::Label;
    /// use reqscope_http::Policy;
    ///
    /// let (orders, others) = (Label::new("orders"), Label::new("others"));
    /// let policy = Policy::new().label(move |request| {
    ///     let first = request.uri().path().split('/').nth(1);
    ///     Some(if first == Some("orders") { orders.clone() } else { others.clone() })
    /// });
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn label(mut self, label: impl Fn(RequestHead<'_>) -> Option<Label> + Send + Sync + 'static) -> Self {
        self.label = Some(Arc::new(label));
        self
    }

    /// Sets the response for a request whose settling release failed, such as a COMMIT. Defaults to an empty 500,
    /// because the error may contain details that the client must not see.
    ///
    /// The handler's own response is dropped unsent. The closure runs after the scope has closed: a panic in it changes
    /// no release, and propagates like a panic of the handler.
    ///
    /// The failure is visible without this closure, too. The [`CloseError`] is in the extensions of the response that is
    /// sent, whether it is the closure's or the 500, so that a layer outside of the front end can count or log it. With
    /// the feature `tracing` it is an ERROR event with all its causes and the label of the scope, also where there is no
    /// response: the service returned an error, or the client disconnected during the COMMIT.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Response, StatusCode};
    /// use reqscope::error::Chain;
    /// use reqscope_http::Policy;
    ///
    /// let policy = Policy::new().on_failed_settle(|error| {
    ///     eprintln!("{}", Chain(error));
    ///     let (status, text) = if error.is_unknown_outcome() {
    ///         (StatusCode::INTERNAL_SERVER_ERROR, "your order may or may not have been placed, please look")
    ///     } else {
    ///         (StatusCode::SERVICE_UNAVAILABLE, "your order was not placed, please try again")
    ///     };
    ///     let mut response = Response::new(Bytes::from(text));
    ///     *response.status_mut() = status;
    ///     response
    /// });
    /// # drop(policy);
    /// ```
    ///
    /// A layer outside that counts the failures:
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use http::Response;
    /// use reqscope::CloseError;
    ///
    /// static NOT_COMMITTED: AtomicU64 = AtomicU64::new(0);
    ///
    /// fn count<B>(response: Response<B>) -> Response<B> {
    ///     if response.extensions().get::<CloseError>().is_some() {
    ///         NOT_COMMITTED.fetch_add(1, Ordering::Relaxed);
    ///     }
    ///     response
    /// }
    /// ```
    #[must_use]
    pub fn on_failed_settle(
        mut self,
        respond: impl Fn(&CloseError) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.on_failed_settle = Arc::new(respond);
        self
    }

    /// Returns the function that labels requests, if there is one.
    pub(crate) fn label_of(&self) -> Option<&LabelOf> {
        self.label.as_deref()
    }

    /// Returns the deadline of a handler that starts now.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    /// Returns why a handler was dropped, now, at this deadline.
    pub(crate) fn handler_timeout(&self, deadline: Instant, label: Option<Label>) -> HandlerTimeout {
        let timeout = self.timeout.unwrap_or_default();
        HandlerTimeout { label, timeout, elapsed: timeout.saturating_add(deadline.elapsed()) }
    }

    /// Returns the exit that the handler put into the response, else the classifier's.
    pub(crate) fn verdict<B>(&self, response: &Response<B>) -> Exit {
        match response.extensions().get() {
            Some(exit) => *exit,
            None => self.classify.classify(response.status(), response.headers()),
        }
    }

    /// Replaces a response that must not be sent, because a settling release failed. An error of the service is kept.
    /// Layers outside find the reason in the extensions of the response.
    pub(crate) fn failed_settle<B, E>(
        &self,
        answer: Result<Response<ScopeBody<B>>, E>,
        error: &CloseError,
    ) -> Result<Response<ScopeBody<B>>, E> {
        answer.map(|unsent| {
            let mut response = (self.on_failed_settle)(error).map(ScopeBody::bytes);
            response.extensions_mut().insert(error.clone());
            // The other reason why the handler's response was not sent.
            if let Some(timeout) = unsent.extensions().get::<HandlerTimeout>() {
                response.extensions_mut().insert(timeout.clone());
            }
            response
        })
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn internal_error() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
