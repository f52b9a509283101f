use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri, request};
use reqscope::ScopeHandle;

/// Finds the scope of a request, for [`Request`] and [`request::Parts`].
///
/// # Examples
///
/// ```
/// use http::Request;
/// use reqscope::Scopes;
/// use reqscope_http::RequestExt;
///
/// // Done by the front end:
/// let scope = Scopes::new().open();
/// let mut request = Request::new(());
/// request.extensions_mut().insert(scope.handle().clone());
///
/// // In a handler:
/// assert!(!request.scope().is_closed());
/// ```
pub trait RequestExt {
    /// Returns the scope of this request.
    ///
    /// # Panics
    ///
    /// Panics if the request has no scope, because no front end wraps the service. The message names the front ends.
    fn scope(&self) -> &ScopeHandle;

    /// Returns the scope of this request, or an error if it has none.
    ///
    /// # Errors
    ///
    /// Returns [`MissingScope`] if no front end wraps the service.
    fn try_scope(&self) -> Result<&ScopeHandle, MissingScope>;
}

impl<B> RequestExt for Request<B> {
    #[track_caller]
    fn scope(&self) -> &ScopeHandle {
        found(self.try_scope())
    }

    fn try_scope(&self) -> Result<&ScopeHandle, MissingScope> {
        self.extensions().get().ok_or(MissingScope(()))
    }
}

impl RequestExt for request::Parts {
    #[track_caller]
    fn scope(&self) -> &ScopeHandle {
        found(self.try_scope())
    }

    fn try_scope(&self) -> Result<&ScopeHandle, MissingScope> {
        self.extensions.get().ok_or(MissingScope(()))
    }
}

/// Unwraps the scope, or panics at the caller's line with a message that names the front ends.
#[track_caller]
fn found(scope: Result<&ScopeHandle, MissingScope>) -> &ScopeHandle {
    match scope {
        Ok(scope) => scope,
        Err(missing) => panic!("{missing}"),
    }
}

/// A request without its body: what the function of [`Policy::label`](crate::Policy::label) sees.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use reqscope_http::RequestHead;
///
/// let request = Request::get("/orders/7").header("x-api-version", "2").body(()).unwrap();
/// let head = RequestHead::of(&request);
/// assert_eq!((head.method().as_str(), head.uri().path()), ("GET", "/orders/7"));
/// assert_eq!(head.headers()["x-api-version"], "2");
/// assert!(head.extensions().is_empty());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    /// Returns the head of this request.
    pub fn of<B>(request: &'a Request<B>) -> Self {
        RequestHead {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// Returns the method.
    pub fn method(self) -> &'a Method {
        self.method
    }

    /// Returns the target of the request.
    pub fn uri(self) -> &'a Uri {
        self.uri
    }

    /// Returns the headers.
    pub fn headers(self) -> &'a HeaderMap {
        self.headers
    }

    /// Returns the extensions, in which routers leave the route that they have found.
    pub fn extensions(self) -> &'a Extensions {
        self.extensions
    }
}

/// The error for a request that has no scope, because no front end has opened one.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use reqscope_http::{MissingScope, RequestExt};
///
/// let request = Request::new(());
/// let missing: MissingScope = request.try_scope().unwrap_err();
/// assert!(missing.to_string().contains("wrap the service"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingScope(());

impl fmt::Display for MissingScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the request has no scope; wrap the service: with reqscope_tower::ScopeLayer for axum, tonic and tower, \
             with reqscope_hyper::ScopeService for hyper",
        )
    }
}

impl std::error::Error for MissingScope {}
