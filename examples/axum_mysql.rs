//! Notes in MySQL or MariaDB: axum, a pool, a transaction for each request that writes, and a retry after deadlocks.
//!
//! ```text
//! DATABASE_URL=mysql://me:secret@localhost/notes cargo run --example axum_mysql --features axum,mysql -- 8080
//! curl -d 'buy milk' http://localhost:8080/notes
//! ```
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router, http::StatusCode};
use reqscope::{Lease, Pool, Scopes};
use reqscope_hyper::{TowerToHyperService, serve};
use reqscope_mysql::mysql_async::{self, prelude::Queryable};
use reqscope_mysql::{MySql, MySqlConn, MySqlError, Transaction};
use reqscope_tower::{ScopeError, ScopeLayer, Scoped};
use tokio::net::TcpListener;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS notes (id INT PRIMARY KEY AUTO_INCREMENT, text TEXT NOT NULL, \
                      edits INT NOT NULL DEFAULT 0)";

type Connections = Pool<MySql>;
type Writes = Transaction<Connections>;

#[derive(Clone, FromRef)]
struct App {
    connections: Arc<Connections>,
    writes: Arc<Writes>,
}

async fn create(Scoped(tx): Scoped<Writes>, text: String) -> Result<(StatusCode, Json<u64>), AppError> {
    let mut tx = tx.get().await?; // first use: a connection, and START TRANSACTION
    tx.exec_drop("INSERT INTO notes (text) VALUES (?)", (text,)).await?;
    Ok((StatusCode::CREATED, Json(tx.last_insert_id().unwrap_or_default()))) // COMMIT, and then the head is sent
}

/// Lists all notes. A single statement that reads needs no transaction.
async fn list(Scoped(connection): Scoped<Connections>) -> Result<Json<Vec<(u64, String, u32)>>, AppError> {
    let mut connection = connection.get().await?;
    Ok(Json(connection.query("SELECT id, text, edits FROM notes ORDER BY id").await?)) // stopped if the client hangs up
}

/// Swaps the texts of two notes.
///
/// Two swaps in opposite directions lock the same rows in a different order. The server rolls back one of them, and the
/// next of its [attempts](Transaction::attempts) does it again.
async fn swap(State(writes): State<Arc<Writes>>, Path(notes): Path<(u64, u64)>) -> Result<StatusCode, AppError> {
    let mut attempts = writes.attempts(10);
    loop {
        let mut tx = attempts.begin().await?;
        let swapped = swap_texts(&mut tx, &notes).await; // a 404 rolls back, so neither edit is counted
        if let Some(outcome) = tx.end(swapped).await {
            return outcome.map(|()| StatusCode::NO_CONTENT);
        }
    }
}

async fn swap_texts(tx: &mut MySqlConn, (a, b): &(u64, u64)) -> Result<(), AppError> {
    let text_of_a = edit(tx, *a).await?;
    let text_of_b = edit(tx, *b).await?;
    let update = "UPDATE notes SET text = ? WHERE id = ?";
    Ok(tx.exec_batch(update, [(text_of_b, a), (text_of_a, b)]).await?)
}

/// Counts an edit of a note and returns its text, in whatever transaction its caller is in.
///
/// No other transaction can change the note until this one has ended.
async fn edit(tx: &mut MySqlConn, id: u64) -> Result<String, AppError> {
    tx.exec_drop("UPDATE notes SET edits = edits + 1 WHERE id = ?", (id,)).await?;
    tx.exec_first("SELECT text FROM notes WHERE id = ?", (id,)).await?.ok_or(AppError::NoSuchNote)
}

#[derive(Debug)]
enum AppError {
    NoSuchNote,
    Database(reqscope::Error<MySqlError>),
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AppError::NoSuchNote => "there is no such note",
            AppError::Database(_) => "the database failed",
        })
    }
}

/// Its source is where the attempts find that the transaction lost against another one.
impl std::error::Error for AppError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AppError::NoSuchNote => None,
            AppError::Database(error) => Some(error),
        }
    }
}

/// `?` on a `get`.
impl From<reqscope::Error<MySqlError>> for AppError {
    fn from(error: reqscope::Error<MySqlError>) -> Self {
        AppError::Database(error)
    }
}

/// `?` on the methods of `Queryable`.
impl From<mysql_async::Error> for AppError {
    fn from(error: mysql_async::Error) -> Self {
        AppError::Database(MySqlError::from(error).into())
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            AppError::NoSuchNote => StatusCode::NOT_FOUND.into_response(),
            // 503 or 500, without the cause
            AppError::Database(error) => ScopeError::from(error).into_response(),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let url = std::env::var("DATABASE_URL").map_err(|error| format!("DATABASE_URL: {error}"))?;
    let connections = Arc::new(Pool::builder().max_size(10).build(MySql::new(&url)?));
    let mut connection = Lease::acquire(&connections).await?;
    connection.query_drop(SCHEMA).await?;
    Lease::complete(connection).await?;

    let writes = Arc::new(Transaction::new(connections.clone()));
    let scopes = Scopes::new(); // one per server; each request gets a scope of its own
    let app = Router::new()
        .route("/notes", get(list).post(create))
        .route("/notes/{a}/swap/{b}", put(swap))
        .with_state(App { connections, writes })
        .layer(ScopeLayer::new(&scopes).timeout(Duration::from_secs(10)));

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("try: curl http://{}/notes    (ctrl-c ends it)", listener.local_addr()?);
    let ctrl_c = async { tokio::signal::ctrl_c().await.expect("the handler of ctrl-c can be set") };
    let report = serve(listener, TowerToHyperService::new(app), &scopes).graceful(ctrl_c).await;
    println!("the server has ended: {:?}", report.drained);
    Ok(())
}
