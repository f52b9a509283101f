//! Whether the service is alive, and whether it should be sent requests.
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::db::Db;

/// `GET /health/live`: answers as long as the process can.
///
/// It does not ask the database. A service that is restarted because its database is down does not come back sooner.
pub(crate) async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET /health/ready`: what the pool holds, under a 503 while connections cannot be opened.
///
/// It asks the pool, not the database: it takes no connection, and answers at once where all of them are in use.
pub(crate) async fn ready(State(db): State<Db>) -> (StatusCode, Json<Value>) {
    let pool = db.connections.status();
    let status = if pool.down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body =
        json!({ "max_size": pool.max_size, "in_use": pool.in_use, "idle": pool.idle, "waiting": pool.waiting });
    (status, Json(body)) // the cause is in the log
}
