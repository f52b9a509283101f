//! The errors that a handler may return, and their answers.
use std::error::Error;

use axum::Json;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use reqscope::CloseError;
use reqscope::error::Chain;
use reqscope_sqlite::SqliteError;
use reqscope_tower::{HandlerTimeout, ScopeError};
use serde_json::json;

/// The error of a job that runs outside of any request, where no client gets an answer.
pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// Why a request failed.
///
/// Each answer is a 4xx or a 5xx, so the request's transaction is rolled back.
///
/// The two `From` below let no other error through `?`. What a client can cause (a body that does not parse) has to
/// become a variant, or does not compile, instead of becoming a 500 unnoticed.
#[derive(Debug)]
pub(crate) enum AppError {
    Unauthorized,
    NameTaken,
    Invalid(&'static str),
    NoSuchProduct(i64),
    OutOfStock(i64),
    /// Not the client's fault: a 503 where another attempt may help, else a 500.
    Internal(ScopeError),
}

/// `?` on a `get`.
impl From<reqscope::Error<SqliteError>> for AppError {
    fn from(error: reqscope::Error<SqliteError>) -> Self {
        AppError::Internal(error.into())
    }
}

/// `?` on a `call`.
impl From<SqliteError> for AppError {
    fn from(error: SqliteError) -> Self {
        AppError::Internal(error.into())
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            AppError::Unauthorized => (StatusCode::UNAUTHORIZED, "unknown token".to_owned()),
            AppError::NameTaken => (StatusCode::CONFLICT, "this name is taken".to_owned()),
            AppError::Invalid(text) => (StatusCode::UNPROCESSABLE_ENTITY, text.to_owned()),
            AppError::NoSuchProduct(id) => (StatusCode::UNPROCESSABLE_ENTITY, format!("there is no product {id}")),
            AppError::OutOfStock(id) => (StatusCode::CONFLICT, format!("too little of product {id} in stock")),
            // The response does not name the cause. `log_failures` logs it.
            AppError::Internal(error) => return error.into_response(),
        };
        (status, Json(json!({ "error": text }))).into_response()
    }
}

/// Logs the cause of every 503 and 500 of the scoped routes: a [`ScopeError`], a COMMIT that failed, or a handler that
/// exceeded its timeout.
pub(crate) async fn log_failures(request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    if let Some(error) = response.extensions().get::<ScopeError>() {
        eprintln!("{line}: {error}"); // with all levels of the cause
    }
    if let Some(error) = response.extensions().get::<CloseError>() {
        eprintln!("{line}: {}", Chain(error));
    }
    if let Some(timeout) = response.extensions().get::<HandlerTimeout>() {
        eprintln!("{line}: {timeout}");
    }
    response
}
