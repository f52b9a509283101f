use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use axum_core::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use reqscope::Error;
use reqscope_http::MissingScope;

/// An answer to the client, where a resource could not be had: `?` makes it of every [`reqscope::Error`].
///
/// | the error | the answer |
/// |---|---|
/// | [`is_unavailable`](Error::is_unavailable), [`is_exhausted`](Error::is_exhausted), [`is_timeout`](Error::is_timeout), [`is_closed`](Error::is_closed) | 503 with `Retry-After: 1` |
/// | any other | 500 |
/// | there is no scope: the [`ScopeLayer`](crate::ScopeLayer) is missing | 500, whose text says so |
///
/// A second is what a pool needs to look again whether its backend is back.
///
/// The client is told nothing of the cause; the body is empty. You find it in the response's extensions, where this
/// error lies for a layer that logs, and from there in [`source`](StdError::source), which is the `reqscope::Error`.
///
/// # Examples
///
/// In a handler, also where the driver itself fails:
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
/// With errors of your own beside it:
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
/// In a layer that logs; put it outside, so that it sees all answers:
///
/// ```
/// use axum::extract::Request;
/// use axum::middleware::{Next, from_fn};
/// use axum::response::Response;
/// use reqscope_tower::ScopeError;
/// use std::error::Error;
///
/// async fn log(request: Request, next: Next) -> Response {
///     let response = next.run(request).await;
///     if let Some(error) = response.extensions().get::<ScopeError>() {
///         // answered with 503 Service Unavailable: timed out after 5.0 s waiting for a connection: 10 of 10 in use, …
///         eprintln!("{error}: {}", error.source().expect("it always has one"));
///     }
///     response
/// }
/// # let _: axum::Router = axum::Router::new().layer(from_fn(log));
/// ```
#[derive(Clone, Debug)]
pub struct ScopeError {
    status: StatusCode,
    /// Whether the client may read what the source says.
    told: bool,
    source: Arc<dyn StdError + Send + Sync>,
}

impl ScopeError {
    /// What the client is answered with: 503 or 500.
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
        let passes = error.is_unavailable() || error.is_exhausted() || error.is_timeout() || error.is_closed();
        let status = if passes { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
        ScopeError { status, told: false, source: Arc::new(error) }
    }
}

impl From<MissingScope> for ScopeError {
    fn from(missing: MissingScope) -> Self {
        // A mistake of the program that each request meets, and no secret: said where the programmer looks first.
        ScopeError { status: StatusCode::INTERNAL_SERVER_ERROR, told: true, source: Arc::new(missing) }
    }
}

impl IntoResponse for ScopeError {
    fn into_response(self) -> Response {
        let mut response = if self.told { self.source.to_string().into_response() } else { ().into_response() };
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
