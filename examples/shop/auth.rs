//! Authentication by a bearer token.
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

use crate::db::Tx;
use crate::error::AppError;
use crate::users;

/// A middleware that looks up the request's token, and puts the [`User`](users::User) into the request's extensions.
///
/// It works in the transaction that the handler will use, so both see the same database: a user that was found here is
/// still there when the handler inserts an order of theirs.
///
/// That has a price. The request's first use of the database is now in this middleware, so the transaction begins here.
/// A request that writes waits for its turn among the writers before its token is known to be good, and keeps that turn
/// until its handler has returned. A request that only reads has a read-only transaction, so it costs a connection of
/// the pool but no writer's turn, also where the handler itself needs no database. Where strangers may send many bad
/// tokens, look them up through a pool of their own instead: that costs each writing request a second connection, and
/// the two lookups no longer see the same moment.
pub(crate) async fn require_user(Tx(tx): Tx, mut request: Request, next: Next) -> Result<Response, AppError> {
    let token = bearer(request.headers()).ok_or(AppError::Unauthorized)?; // without one the database is not asked
    let user = {
        let mut tx = tx.get().await?; // BEGIN
        users::by_token(&mut tx, token).await?
        // The guard is dropped here. The handler could not get the transaction while this function holds it.
    };
    request.extensions_mut().insert(user.ok_or(AppError::Unauthorized)?); // a 401 rolls back
    Ok(next.run(request).await)
}

/// Returns the token of `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<String> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::to_owned)
}
