use std::error::Error as StdError;
use std::fmt;
use std::iter::successors;
use std::ops::Deref;
use std::sync::Arc;

use axum_core::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use reqscope::error::{Chain, Class};
use reqscope_http::MissingScope;

/// An error that is a response, for what is not the client's fault. `?` converts every error type into it: those of
/// [`get`](reqscope::Lazy::get), of the driver, of a library.
///
/// | error, by its [`Class`] | response |
/// |---|---|
/// | unavailable, exhausted, timeout, closed | 503 with `Retry-After: 1`, because a pool checks within a second whether its backend is back |
/// | unknown outcome: a COMMIT or another release without an answer | 500, because a client must not simply repeat such a request |
/// | the `CloseError` of a scope, whatever its cause | 500, for the same reason: another release may have committed |
/// | any other, and errors without a class | 500 |
/// | the [`ScopeLayer`](crate::ScopeLayer) is missing | 500 with a text that says so |
///
/// The class is [found](Class::find) however deep an error is wrapped: a pool that is exhausted is a 503 also if
/// another resource returns the pool's error as its own cause. SQLite's "database is locked" and MySQL's "server is
/// read-only" are a 503 too.
///
/// The body is empty, because the cause may contain details that the client must not see. The error itself is put into
/// the response's extensions, where a logging layer finds it. A failed COMMIT is no `ScopeError`: it is passed to
/// [`ScopeLayer::on_failed_settle`](crate::ScopeLayer::on_failed_settle).
///
/// # The client's own fault
///
/// A body that does not parse, a name that is taken, an order that does not exist: `?` turns these errors into a 500 as
/// well, if the handler returns a `ScopeError`. The client is not told what to change, and the log blames the server. A
/// handler that can fail by its client's fault returns an error type of the application, with a variant for each
/// answer, and converts into `ScopeError` only what is left:
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use http::StatusCode;
/// use reqscope_sqlite::SqliteError;
/// use reqscope_tower::ScopeError;
///
/// #[derive(Debug, thiserror::Error)]
/// enum AppError {
///     #[error("this name is taken")]
///     NameTaken,
///     #[error("the body does not parse: {0}")]
///     Unparsable(#[from] serde_json::Error),
///     #[error(transparent)]
///     Get(#[from] reqscope::Error<SqliteError>), // `?` on a `get`
///     #[error(transparent)]
///     Call(#[from] SqliteError), // `?` on a `call`
/// }
///
/// impl IntoResponse for AppError {
///     fn into_response(self) -> Response {
///         match self {
///             AppError::NameTaken => (StatusCode::CONFLICT, self.to_string()).into_response(),
///             AppError::Unparsable(_) => (StatusCode::UNPROCESSABLE_ENTITY, self.to_string()).into_response(),
///             AppError::Get(_) | AppError::Call(_) => ScopeError::from(self).into_response(), // 503 or 500
///         }
///     }
/// }
/// # assert_eq!(AppError::NameTaken.into_response().status(), 409);
/// # assert_eq!(AppError::from(serde_json::from_str::<u8>("{").unwrap_err()).into_response().status(), 422);
/// # assert_eq!(AppError::from(reqscope::Error::<SqliteError>::closed()).into_response().status(), 503);
/// # assert_eq!(AppError::from(SqliteError::InDoubt).into_response().status(), 500);
/// ```
///
/// `?` on an error without a variant does not compile, so no parse error becomes a 500 unnoticed. A constraint of the
/// database does: that a name is taken is an error of `call`, as is a table that does not exist. Look at it before the
/// `?`:
///
/// ```
/// # use reqscope_sqlite::SqliteError;
/// use reqscope_sqlite::SqliteConn;
/// use reqscope_sqlite::rusqlite::ErrorCode;
///
/// # enum AppError { NameTaken, Call(SqliteError) }
/// # impl From<SqliteError> for AppError { fn from(error: SqliteError) -> Self { AppError::Call(error) } }
/// async fn insert(conn: &mut SqliteConn, name: String) -> Result<(), AppError> {
///     match conn.call(move |db| db.execute("INSERT INTO users VALUES (?1)", [name])).await {
///         Err(error) if error.code() == Some(ErrorCode::ConstraintViolation) => Err(AppError::NameTaken),
///         inserted => Ok(inserted.map(drop)?),
///     }
/// }
/// # let _ = (insert, |error| match error { AppError::NameTaken => None, AppError::Call(error) => Some(error) });
/// ```
///
/// A `ScopeError` that a function of the application returns can be a variant as well ([how](#not-an-error)).
///
/// Without thiserror, one generic impl converts everything. It also makes a 500 of every error that has no variant, the
/// client's faults included, so use it only where extractors such as `Json` and `Path` parse what clients send: they
/// answer with a 4xx themselves.
///
/// ```
/// # use reqscope_tower::ScopeError;
/// # enum AppError { Internal(ScopeError) }
/// impl<E: Into<ScopeError>> From<E> for AppError {
///     fn from(error: E) -> Self {
///         AppError::Internal(error.into())
///     }
/// }
/// # let AppError::Internal(_) = AppError::from(std::fmt::Error);
/// ```
///
/// # Not an `Error`
///
/// As `anyhow::Error`, this type does not implement [`std::error::Error`]: the conversion from every error type and
/// that trait exclude each other. It derefs to the error inside, so it can be a `#[from]` or a `#[source]` of thiserror:
///
/// ```
/// use reqscope_tower::ScopeError;
///
/// #[derive(Debug, thiserror::Error)]
/// enum ReportError {
///     #[error("the report could not be read")]
///     Read(#[from] ScopeError),
///     #[error("the report is empty")]
///     Empty,
/// }
///
/// fn sum(lines: &[&str]) -> Result<u32, ScopeError> {
///     Ok(lines.iter().map(|line| line.parse::<u32>()).sum::<Result<_, _>>()?)
/// }
///
/// fn report(lines: &[&str]) -> Result<u32, ReportError> {
///     if lines.is_empty() { Err(ReportError::Empty) } else { Ok(sum(lines)?) }
/// }
/// assert_eq!(report(&["1", "2"]).unwrap(), 3);
/// assert!(matches!(report(&["one"]), Err(ReportError::Read(_))));
/// ```
///
/// Use [`ScopeError::source`] for the error inside, [`ScopeError::new`] for a message, for a boxed error and for an
/// `anyhow::Error`, and `?` in a function that returns a `Box<dyn Error + Send + Sync>`. The box contains the error inside,
/// so it can be downcast:
///
/// ```
/// use reqscope_tower::ScopeError;
/// use std::error::Error;
/// use std::num::ParseIntError;
///
/// let boxed: Box<dyn Error + Send + Sync> = ScopeError::from("one".parse::<u32>().unwrap_err()).into();
/// assert!(boxed.is::<ParseIntError>());
/// ```
///
/// If a clone of the `ScopeError` exists, the box contains an error with the same text, whose
/// [`source`](std::error::Error::source) is the error inside.
///
/// # Examples
///
/// ```
/// use axum::Router;
/// use axum::routing::post;
/// use reqscope_sqlite::{Sqlite, Transaction};
/// use reqscope_tower::{ScopeError, Scoped};
/// use std::sync::Arc;
///
/// type Db = Transaction<Sqlite>;
///
/// async fn visit(Scoped(tx): Scoped<Db>) -> Result<String, ScopeError> {
///     let mut tx = tx.get().await?;
///     let visits = tx.call(|db| db.execute("INSERT INTO visits DEFAULT VALUES", ())).await?;
///     Ok(visits.to_string())
/// }
/// # let _: Router<Arc<Db>> = Router::new().route("/", post(visit));
/// ```
///
/// In a logging layer, outside of the others so that it sees every response. A failed COMMIT and a handler that exceeded
/// its timeout are in the extensions, too:
///
/// ```
/// use axum::extract::Request;
/// use axum::middleware::{Next, from_fn};
/// use axum::response::Response;
/// use reqscope::CloseError;
/// use reqscope::error::Chain;
/// use reqscope_tower::{HandlerTimeout, ScopeError};
///
/// async fn log(request: Request, next: Next) -> Response {
///     let response = next.run(request).await;
///     let extensions = response.extensions();
///     if let Some(error) = extensions.get::<ScopeError>() {
///         // answered with 500 Internal Server Error: sqlite failed: no such table: visits
///         eprintln!("{error}");
///     }
///     if let Some(error) = extensions.get::<CloseError>() {
///         eprintln!("not committed: {}", Chain(error));
///     }
///     if let Some(timeout) = extensions.get::<HandlerTimeout>() {
///         eprintln!("{timeout}");
///     }
///     response
/// }
/// # let _: axum::Router = axum::Router::new().layer(from_fn(log));
/// ```
#[derive(Clone, Debug)]
pub struct ScopeError {
    status: StatusCode,
    /// In a box, which the last clone gives away.
    source: Arc<Box<dyn StdError + Send + Sync>>,
}

impl ScopeError {
    /// Creates an error from a boxed one or from a message, which `?` does not convert.
    ///
    /// ```
    /// use reqscope_tower::ScopeError;
    /// use std::error::Error;
    ///
    /// fn rates() -> Result<f64, Box<dyn Error + Send + Sync>> {
    ///     Ok("1.08".parse()?)
    /// }
    ///
    /// fn convert(euros: f64) -> Result<f64, ScopeError> {
    ///     let rate = rates().map_err(ScopeError::new)?;
    ///     if rate > 0.0 { Ok(euros * rate) } else { Err(ScopeError::new("the rate is not positive")) }
    /// }
    /// assert_eq!(convert(100.0).unwrap(), 108.0);
    /// ```
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::of(error.into())
    }

    fn of(source: Box<dyn StdError + Send + Sync>) -> Self {
        let is_temporary = |class: Class| {
            let is_refusal = class.is_unavailable() || class.is_exhausted() || class.is_closed();
            (is_refusal || class.is_timeout()) && !class.is_unknown_outcome()
        };
        let status = match Class::find(&*source) {
            Some(class) if is_temporary(class) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ScopeError { status, source: Arc::new(source) }
    }

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
    /// let broken = ScopeError::from(io::Error::other("no such table"));
    /// assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
    /// ```
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the error that was converted into this one, for a log or to downcast it.
    ///
    /// ```
    /// use reqscope::Error;
    /// use reqscope_tower::ScopeError;
    /// use std::io;
    ///
    /// let error = ScopeError::from(Error::failed(io::Error::other("no such table")));
    /// assert!(error.source().downcast_ref::<Error<io::Error>>().is_some_and(Error::is_failed));
    /// ```
    pub fn source(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &**self.source
    }

    /// Returns the error that says that the layer is missing, at any level.
    fn missing_scope(&self) -> Option<&MissingScope> {
        let source: &(dyn StdError + 'static) = self.source();
        // A chain that leads back to itself ends.
        successors(Some(source), |&error| error.source()).take(128).find_map(|error| error.downcast_ref())
    }
}

/// Converts any error, with its class. A `ScopeError` that a callee returned is passed on as it is.
impl<E: StdError + Send + Sync + 'static> From<E> for ScopeError {
    fn from(error: E) -> Self {
        Self::of(Box::new(error))
    }
}

/// Derefs to the error that was converted into this one.
impl Deref for ScopeError {
    type Target = dyn StdError + Send + Sync + 'static;

    fn deref(&self) -> &Self::Target {
        self.source()
    }
}

/// Returns the error that was converted into the `ScopeError`, or, if that has a clone, an error whose source it is.
impl From<ScopeError> for Box<dyn StdError + Send + Sync> {
    fn from(error: ScopeError) -> Self {
        Arc::try_unwrap(error.source).unwrap_or_else(|shared| Box::new(SharedError(shared)))
    }
}

/// Returns the error that was converted into the `ScopeError`, or, if that has a clone, an error whose source it is.
impl From<ScopeError> for Box<dyn StdError> {
    fn from(error: ScopeError) -> Self {
        Box::<dyn StdError + Send + Sync>::from(error)
    }
}

/// An error that a clone of its `ScopeError` refers to as well. It is its own source, so that code that looks for a type
/// in the chain finds it.
struct SharedError(Arc<Box<dyn StdError + Send + Sync>>);

impl StdError for SharedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&**self.0)
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl IntoResponse for ScopeError {
    fn into_response(self) -> Response {
        let mut response = match self.missing_scope() {
            // A mistake in the program, not a secret. Developers look at the response first.
            Some(missing) => missing.to_string().into_response(),
            None => ().into_response(),
        };
        *response.status_mut() = self.status;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Shows the status and all levels of the error inside, in one line for the log. Line breaks in them are escaped, as by
/// [`Chain`].
impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answered with {}: {}", self.status, Chain(self.source()))
    }
}
