use std::fmt;

use http::{Request, request};
use reqscope::ScopeHandle;

/// The way from a request to its scope.
///
/// ```
/// use http::Request;
/// use reqscope::Scopes;
/// use reqscope_http::RequestExt;
///
/// // What the front end does:
/// let scope = Scopes::new().open();
/// let mut request = Request::new(());
/// request.extensions_mut().insert(scope.handle().clone());
///
/// // What a handler does:
/// assert!(!request.scope().is_closed());
/// ```
pub trait RequestExt {
    /// The scope of this request.
    ///
    /// # Panics
    ///
    /// If there is none: the service is not wrapped. The text says what to do.
    fn scope(&self) -> &ScopeHandle;

    /// The scope of this request, where it may be missing.
    ///
    /// # Errors
    ///
    /// [`MissingScope`]: the service is not wrapped.
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

#[track_caller]
fn found(scope: Result<&ScopeHandle, MissingScope>) -> &ScopeHandle {
    match scope {
        Ok(scope) => scope,
        Err(missing) => panic!("{missing}"),
    }
}

/// A request carries no scope, because nothing around the handler has opened one.
///
/// A function that works with a scope and without one:
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
            "this request has no scope: nothing around the handler has opened one; wrap the service in that of your \
             front end: reqscope_tower::ScopeLayer for axum, tonic and tower, reqscope_hyper::ScopeService for hyper",
        )
    }
}

impl std::error::Error for MissingScope {}
