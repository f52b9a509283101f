use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use reqscope::{CloseError, Exit, Scope, Scopes};
use tokio::time::Instant;

use crate::{ByStatus, Classify, ResponseFuture, ScopeBody};

/// What a front end does with the scopes of its requests. The same for plain hyper and for tower.
///
/// A front end keeps one in an [`Arc`], calls [`open`](Policy::open) in its `call` and wraps the handler's future
/// with [`Opened::answer`]. Users set it through their front end.
///
/// ```
/// use bytes::Bytes;
/// use http::{HeaderMap, Response, StatusCode};
/// use reqscope::Exit;
/// use reqscope_http::{ByStatus, Classify, Policy};
/// use std::time::Duration;
///
/// let mut policy = Policy::new();
/// policy.set_timeout(Duration::from_secs(10));
/// policy.set_classify(|status: StatusCode, headers: &HeaderMap| match status {
///     StatusCode::NOT_FOUND => Exit::Completed,
///     _ => ByStatus.classify(status, headers),
/// });
/// policy.set_on_failed_settle(|error| {
///     eprintln!("{error}");
///     let mut response = Response::new(Bytes::from("nothing was changed"));
///     *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
///     response
/// });
/// ```
#[derive(Clone)]
pub struct Policy {
    classify: Arc<dyn Classify>,
    timeout: Option<Duration>,
    on_failed_settle: Arc<OnFailedSettle>,
}

type OnFailedSettle = dyn Fn(&CloseError) -> Response<Bytes> + Send + Sync;

impl Policy {
    /// Judges responses by their status, sets no timeout, and answers a failed settle with an empty 500.
    pub fn new() -> Self {
        Policy { classify: Arc::new(ByStatus), timeout: None, on_failed_settle: Arc::new(|_| internal_error()) }
    }

    /// Who judges responses. The default is [`ByStatus`].
    pub fn set_classify(&mut self, classify: impl Classify) {
        self.classify = Arc::new(classify);
    }

    /// How long a handler may take. By default there is no limit: only the application knows how long its slowest
    /// answer takes.
    ///
    /// When it is over the handler is dropped, its scope closes as [`Exit::Cancelled`], and the answer is an empty
    /// 503. It begins with [`open`](Policy::open). The time that the close takes has a limit of its own, in [`Scopes`].
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = Some(timeout);
    }

    /// What is answered where a release that mattered to the client failed (law L11). The default is an empty 500.
    ///
    /// The handler's own response is dropped unsent. It is called when the scope has closed, so a panic in it changes no
    /// release; nothing is answered then.
    pub fn set_on_failed_settle(&mut self, answer: impl Fn(&CloseError) -> Response<Bytes> + Send + Sync + 'static) {
        self.on_failed_settle = Arc::new(answer);
    }

    /// Opens the scope of a request and puts its handle into the request's extensions.
    ///
    /// Call it in the front end's `call`, not in the first poll of a future: a request whose client has gone may
    /// be polled zero times.
    pub fn open<B>(self: &Arc<Self>, scopes: &Scopes, request: &mut Request<B>) -> Opened {
        let scope = scopes.open();
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if let Some(at) = deadline {
            scope.set_deadline(at.into_std());
        }
        request.extensions_mut().insert(scope.handle().clone());
        Opened { scope, deadline, policy: Arc::clone(self) }
    }

    /// The handler's own verdict if it left one, else the classifier's.
    pub(crate) fn verdict<B>(&self, response: &Response<B>) -> Exit {
        match response.extensions().get() {
            Some(exit) => *exit,
            None => self.classify.classify(response.status(), response.headers()),
        }
    }

    /// The answer in place of this one, which the client must not see. An error of the service stays what it is.
    pub(crate) fn unsettled<B, E>(
        &self,
        answer: Result<Response<ScopeBody<B>>, E>,
        error: &CloseError,
    ) -> Result<Response<ScopeBody<B>>, E> {
        answer.map(|_unsent| (self.on_failed_settle)(error).map(ScopeBody::bytes))
    }
}

fn internal_error() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// A request whose scope is open. Dropping it closes the scope, as `Panicked` if the handler panics in `call`.
///
/// In the `call` of a front end:
///
/// ```
/// use std::sync::Arc;
///
/// use http::{Request, Response};
/// use reqscope::Scopes;
/// use reqscope_http::{Opened, Policy, ResponseFuture};
///
/// fn call<A, B, E, F>(
///     policy: &Arc<Policy>,
///     scopes: &Scopes,
///     mut request: Request<A>,
///     service: impl Fn(Request<A>) -> F,
/// ) -> ResponseFuture<F, B, E>
/// where
///     F: Future<Output = Result<Response<B>, E>>,
/// {
///     let opened: Opened = policy.open(scopes, &mut request);
///     opened.answer(service(request)) // a panic in the service drops `opened`
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping it closes the scope"]
pub struct Opened {
    pub(crate) scope: Scope,
    pub(crate) deadline: Option<Instant>,
    pub(crate) policy: Arc<Policy>,
}

impl Opened {
    /// Runs the handler, and then the close of its scope.
    ///
    /// # Panics
    ///
    /// If there is a timeout, outside a tokio runtime with timers.
    pub fn answer<F, B, E>(self, handler: F) -> ResponseFuture<F, B, E>
    where
        F: Future<Output = Result<Response<B>, E>>,
    {
        ResponseFuture::new(self, handler)
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
