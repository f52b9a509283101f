use std::fmt;

use http::{Request, request};
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
