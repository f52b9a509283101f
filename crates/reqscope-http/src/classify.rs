use http::{HeaderMap, StatusCode};
use reqscope::Exit;

/// Decides from the head of a response how the scope of its request is closed.
///
/// A transaction commits on [`Exit::Completed`] and rolls back on everything else. [`ByStatus`] is the default. A
/// closure over the status and the headers is a `Classify` too.
///
/// A handler overrides every classifier by putting an [`Exit`] into the response's extensions. This is how a 401 keeps
/// the failed-login counter that the handler has just written:
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
/// A service for which a 404 is a success:
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
    /// Returns the exit for a response with this head.
    ///
    /// Called at most once per response, after the handler has returned and before its scope closes, so it must not
    /// block. A panic in it counts as a panic of the handler: the scope closes as [`Exit::Panicked`], and the response
    /// is not sent.
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

/// Classifies 1xx, 2xx and 3xx as `Completed` and everything else as `Failed`. The default.
///
/// A redirect after a POST is a success, and so is a 101: the scope ends where the upgrade begins.
///
/// # Examples
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

/// Classifies gRPC responses, whose HTTP status is always 200: `Failed` if the head has a `grpc-status` other than 0.
///
/// A head without `grpc-status` is classified [by its status](ByStatus). A call that fails at once has the
/// `grpc-status` in its head. A call that fails later has it in the trailers, after the scope has closed; only a
/// [`LeaseBody`](crate::LeaseBody) can take those into account.
///
/// # Examples
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
