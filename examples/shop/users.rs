//! Users, and the tokens by which they are known.
use axum::http::StatusCode;
use axum::{Extension, Json};
use reqscope_sqlite::rusqlite::OptionalExtension;
use reqscope_sqlite::{SqliteConn, SqliteError};
use serde::{Deserialize, Serialize};

use crate::db::Tx;
use crate::error::AppError;

#[derive(Clone, Serialize)]
pub(crate) struct User {
    pub(crate) id: i64,
    name: String,
}

#[derive(Deserialize)]
pub(crate) struct NewUser {
    name: String,
}

#[derive(Serialize)]
pub(crate) struct Registered {
    id: i64,
    token: String,
}

/// `POST /users`
pub(crate) async fn register(
    Tx(tx): Tx,
    Json(user): Json<NewUser>,
) -> Result<(StatusCode, Json<Registered>), AppError> {
    if user.name.is_empty() {
        return Err(AppError::Invalid("a user needs a name"));
    }
    let registered = insert(&mut *tx.get().await?, user.name).await?;
    registered.map(|user| (StatusCode::CREATED, Json(user))).ok_or(AppError::NameTaken)
}

/// `GET /users/me`
pub(crate) async fn me(Extension(user): Extension<User>) -> Json<User> {
    Json(user)
}

/// Inserts a user with a new token. Returns `None` if the name is taken.
async fn insert(conn: &mut SqliteConn, name: String) -> Result<Option<Registered>, SqliteError> {
    let insert = "INSERT INTO users (name, token) VALUES (?1, hex(randomblob(16)))
                  ON CONFLICT (name) DO NOTHING RETURNING id, token";
    conn.call(move |sql| {
        sql.query_row(insert, [name], |row| Ok(Registered { id: row.get(0)?, token: row.get(1)? })).optional()
    })
    .await
}

/// Returns the user that a token belongs to.
pub(crate) async fn by_token(conn: &mut SqliteConn, token: String) -> Result<Option<User>, SqliteError> {
    conn.call(move |sql| {
        let mut select = sql.prepare_cached("SELECT id, name FROM users WHERE token = ?1")?;
        select.query_row([token], |row| Ok(User { id: row.get(0)?, name: row.get(1)? })).optional()
    })
    .await
}
