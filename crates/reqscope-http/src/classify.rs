use http::{HeaderMap, StatusCode};
use reqscope::Exit;

/// Tells from the head of a response whether the effects of the request are wanted.
///
/// The answer is what the scope is closed with: a transaction commits on [`Exit::Completed`] and rolls back on
/// everything else. [`ByStatus`] is the default. A closure over the status and the headers is a `Classify` too.
///
/// It is asked for nothing if the handler has put an [`Exit`] into the response's extensions: that is the handler's
/// own verdict and overrides every classifier. So a 401 can keep the failed-login counter it has just written:
///
/// ```
/// use http::{Response, StatusCode};
/// use reqscope::Exit;
///
/// let mut response = Response::new("wrong password");
/// *response.status_mut() = StatusCode::UNAUTHORIZED;
/// response.extensions_mut().insert(Exit::Completed);
/// ```
///
/// # Examples
///
/// A service whose 404 is an ordinary answer:
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use reqscope::Exit;
/// use reqscope_http::{ByStatus, Classify};
///
/// let lookup = |status: StatusCode, headers: &HeaderMap| match status {
///     StatusCode::NOT_FOUND => Exit::Completed,
///     _ => ByStatus.classify(status, headers),
/// };
/// assert_eq!(lookup.classify(StatusCode::NOT_FOUND, &HeaderMap::new()), Exit::Completed);
/// ```
pub trait Classify: Send + Sync + 'static {
    /// The verdict on a response with this head.
    ///
    /// Called at most once for each response, between the handler and the close of its scope: do not block. A panic in
    /// it counts as one of the handler: the scope closes as [`Exit::Panicked`], and the response is not sent.
    fn classify(&self, status: StatusCode, headers: &HeaderMap) -> Exit;
}

impl<F> Classify for F
where
    F: Fn(StatusCode, &HeaderMap) -> Exit + Send + Sync + 'static,
{
    fn classify(&self, status: StatusCode, headers: &HeaderMap) -> Exit {
        self(status, headers)
    }
}

/// 1xx, 2xx and 3xx are `Completed`, everything else is `Failed`. The default.
///
/// A redirect after a POST is a success, and so is a 101: the scope ends where the upgrade begins.
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use reqscope::Exit;
/// use reqscope_http::{ByStatus, Classify};
///
/// let exit = |status| ByStatus.classify(status, &HeaderMap::new());
/// assert_eq!(exit(StatusCode::SWITCHING_PROTOCOLS), Exit::Completed);
/// assert_eq!(exit(StatusCode::SEE_OTHER), Exit::Completed);
/// assert_eq!(exit(StatusCode::CONFLICT), Exit::Failed);
/// assert_eq!(exit(StatusCode::from_u16(799).unwrap()), Exit::Failed);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStatus;

impl Classify for ByStatus {
    fn classify(&self, status: StatusCode, _headers: &HeaderMap) -> Exit {
        if status.as_u16() < 400 { Exit::Completed } else { Exit::Failed }
    }
}

/// For gRPC, where every answer is a 200: `Completed` if the head says `grpc-status: 0` or nothing at all.
///
/// A call that fails at once says so in its head. One that fails later says so in the trailers, after the scope has
/// ended; those decide only about a [`LeaseBody`](crate::LeaseBody).
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use reqscope::Exit;
/// use reqscope_http::{ByGrpcStatus, Classify};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(ByGrpcStatus.classify(StatusCode::OK, &headers), Exit::Completed);
/// headers.insert("grpc-status", "5".parse().unwrap());
/// assert_eq!(ByGrpcStatus.classify(StatusCode::OK, &headers), Exit::Failed);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ByGrpcStatus;

impl Classify for ByGrpcStatus {
    fn classify(&self, status: StatusCode, headers: &HeaderMap) -> Exit {
        match headers.get("grpc-status") {
            Some(grpc) if grpc != "0" => Exit::Failed,
            _ => ByStatus.classify(status, headers),
        }
    }
}
