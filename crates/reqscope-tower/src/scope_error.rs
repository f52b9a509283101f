use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use axum_core::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use reqscope::Error;
use reqscope_http::MissingScope;

/// An error that is a response, for handlers that could not acquire a resource. `?` converts every [`reqscope::Error`].
///
/// | error | response |
/// |---|---|
/// | [`is_unavailable`](Error::is_unavailable), [`is_exhausted`](Error::is_exhausted), [`is_timeout`](Error::is_timeout), [`is_closed`](Error::is_closed) | 503 with `Retry-After: 1`, because a pool checks within a second whether its backend is back |
/// | any other | 500 |
/// | the [`ScopeLayer`](crate::ScopeLayer) is missing | 500 with a text that says so |
///
/// The body is empty, because the cause may contain details that the client must not see. The error itself is put into
/// the response's extensions, where a logging layer finds it; its [`source`](StdError::source) is the
/// `reqscope::Error`, whose source is the error of the driver. A failed COMMIT is no `ScopeError`: it is passed to
/// [`ScopeLayer::on_failed_settle`](crate::ScopeLayer::on_failed_settle).
///
/// # Examples
///
/// In a handler, including errors of the driver:
///
/// ```
/// use axum::Router;
/// use axum::routing::post;
/// use reqscope::Error;
/// use reqscope_sqlite::{Sqlite, Transaction};
/// use reqscope_tower::{ScopeError, Scoped};
/// use std::sync::Arc;
///
/// type Db = Transaction<Sqlite>;
///
/// async fn visit(Scoped(tx): Scoped<Db>) -> Result<String, ScopeError> {
///     let mut tx = tx.get().await?;
///     let visits = tx.call(|db| db.execute("INSERT INTO visits DEFAULT VALUES", ())).await;
///     Ok(visits.map_err(Error::failed)?.to_string())
/// }
/// # let _: Router<Arc<Db>> = Router::new().route("/", post(visit));
/// ```
///
/// Next to errors of the application. This `From` is for `?` on a `get`; for `?` on a method of the handle, such as
/// `call`, add one from the adapter's error, as `examples/axum_sqlite.rs` does:
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use http::StatusCode;
/// use reqscope_tower::ScopeError;
/// use std::error::Error;
///
/// enum AppError {
///     NoSuchOrder,
///     Scope(ScopeError),
/// }
///
/// impl<C: Error + Send + Sync + 'static> From<reqscope::Error<C>> for AppError {
///     fn from(error: reqscope::Error<C>) -> Self {
///         AppError::Scope(error.into())
///     }
/// }
///
/// impl IntoResponse for AppError {
///     fn into_response(self) -> Response {
///         match self {
///             AppError::NoSuchOrder => StatusCode::NOT_FOUND.into_response(),
///             AppError::Scope(error) => error.into_response(),
///         }
///     }
/// }
/// # let app = AppError::from(reqscope::Error::<std::io::Error>::closed());
/// # assert_eq!(app.into_response().status(), 503);
/// ```
///
/// In a logging layer, outside of the others so that it sees every response. The message of the driver is at the end of
/// the chain of sources:
///
/// ```
/// use axum::extract::Request;
/// use axum::middleware::{Next, from_fn};
/// use axum::response::Response;
/// use reqscope_tower::ScopeError;
/// use std::error::Error;
/// use std::iter::successors;
///
/// async fn log(request: Request, next: Next) -> Response {
///     let response = next.run(request).await;
///     if let Some(error) = response.extensions().get::<ScopeError>() {
///         // answered with 500 Internal Server Error: the resource failed: sqlite returned an error: no such table: …
///         eprintln!("{}", chain(error));
///     }
///     response
/// }
///
/// /// Returns the text of an error and of all its sources.
/// fn chain(error: &dyn Error) -> String {
///     let sources = successors(error.source(), |&error| error.source());
///     sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
/// }
/// # let _: axum::Router = axum::Router::new().layer(from_fn(log));
/// ```
#[derive(Clone, Debug)]
pub struct ScopeError {
    status: StatusCode,
    /// Whether the source's text is sent to the client.
    show_source: bool,
    source: Arc<dyn StdError + Send + Sync>,
}

impl ScopeError {
    /// Returns the status of the response: 503 or 500.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::StatusCode;
    /// use reqscope::Error;
    /// use reqscope_tower::ScopeError;
    /// use std::io;
    ///
    /// let full = ScopeError::from(Error::<io::Error>::exhausted());
    /// assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    /// let broken = ScopeError::from(Error::failed(io::Error::other("no such table")));
    /// assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
    /// ```
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl<C: StdError + Send + Sync + 'static> From<Error<C>> for ScopeError {
    fn from(error: Error<C>) -> Self {
        let is_temporary = error.is_unavailable() || error.is_exhausted() || error.is_timeout() || error.is_closed();
        let status = if is_temporary { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
        ScopeError { status, show_source: false, source: Arc::new(error) }
    }
}

impl From<MissingScope> for ScopeError {
    fn from(missing: MissingScope) -> Self {
        // A mistake in the program, not a secret. Shown in the response, because developers look there first.
        ScopeError { status: StatusCode::INTERNAL_SERVER_ERROR, show_source: true, source: Arc::new(missing) }
    }
}

impl IntoResponse for ScopeError {
    fn into_response(self) -> Response {
        let mut response =
            if self.show_source { self.source.to_string().into_response() } else { ().into_response() };
        *response.status_mut() = self.status;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answered with {}", self.status)
    }
}

impl StdError for ScopeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
