//! Notes in a database: axum, a pool, and a transaction for each request that writes.
//!
//! ```text
//! cargo run --example axum_sqlite --features axum -- 8080
//! curl -d 'buy milk' http://localhost:8080/notes
//! ```
//!
//! Outside of this repository it needs the dependencies of the README, axum's feature `macros` for `FromRef`, and
//! `serde` with its feature `derive`.
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, Path};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router, http::StatusCode};
use reqscope::{Pool, Scopes};
use reqscope_hyper::{TowerToHyperService, serve};
use reqscope_sqlite::{Sqlite, SqliteConn, SqliteError, Transaction};
use reqscope_tower::{ScopeError, ScopeLayer, Scoped};
use serde::Serialize;
use tokio::net::TcpListener;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL);
                      CREATE TABLE IF NOT EXISTS edits (note INTEGER NOT NULL)";

type Connections = Pool<Sqlite>;
type Writes = Transaction<Connections>;

#[derive(Clone, FromRef)]
struct App {
    connections: Arc<Connections>,
    writes: Arc<Writes>,
}

#[derive(Serialize)]
struct Note {
    id: i64,
    text: String,
    edits: u32,
}

async fn create(Scoped(tx): Scoped<Writes>, text: String) -> Result<(StatusCode, Json<i64>), AppError> {
    let mut tx = tx.get().await?; // first use: a connection, and BEGIN
    let insert = "INSERT INTO notes (text) VALUES (?1) RETURNING id";
    let id = tx.call(move |sql| sql.query_row(insert, [text], |row| row.get(0))).await?;
    Ok((StatusCode::CREATED, Json(id))) // COMMIT, and then the head is sent
}

/// Lists all notes. A single statement that reads needs no transaction, and no turn among the writers.
async fn list(Scoped(connection): Scoped<Connections>) -> Result<Json<Vec<Note>>, AppError> {
    let mut connection = connection.get().await?;
    let notes = connection.call(|sql| {
        let select = "SELECT id, text, (SELECT count(*) FROM edits WHERE note = id) FROM notes ORDER BY id";
        let mut notes = sql.prepare_cached(select)?;
        let notes = notes.query_map((), |row| Ok(Note { id: row.get(0)?, text: row.get(1)?, edits: row.get(2)? }))?;
        notes.collect()
    });
    Ok(Json(notes.await?))
}

async fn update(Scoped(tx): Scoped<Writes>, Path(id): Path<i64>, text: String) -> Result<StatusCode, AppError> {
    let mut tx = tx.get().await?;
    count_edit(&mut tx, id).await?;
    match tx.call(move |sql| sql.execute("UPDATE notes SET text = ?2 WHERE id = ?1", (id, text))).await? {
        0 => Err(AppError::NoSuchNote), // a 404 rolls back, so the edit is not counted
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

async fn delete(Scoped(tx): Scoped<Writes>, Path(id): Path<i64>) -> Result<StatusCode, AppError> {
    let mut tx = tx.get().await?;
    match tx.call(move |sql| sql.execute("DELETE FROM notes WHERE id = ?1", [id])).await? {
        0 => Err(AppError::NoSuchNote),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Counts an edit, in whatever transaction its caller is in.
async fn count_edit(tx: &mut SqliteConn, note: i64) -> Result<usize, SqliteError> {
    tx.call(move |sql| sql.execute("INSERT INTO edits VALUES (?1)", [note])).await
}

enum AppError {
    NoSuchNote,
    Database(ScopeError),
}

/// `?` on a `get`.
impl From<reqscope::Error<SqliteError>> for AppError {
    fn from(error: reqscope::Error<SqliteError>) -> Self {
        AppError::Database(error.into())
    }
}

/// `?` on a `call`.
impl From<SqliteError> for AppError {
    fn from(error: SqliteError) -> Self {
        AppError::Database(error.into())
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            AppError::NoSuchNote => StatusCode::NOT_FOUND.into_response(),
            AppError::Database(error) => error.into_response(), // 503 or 500, without the cause
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("try: curl http://{}/notes    (ctrl-c ends it)", listener.local_addr()?);

    let sqlite = Sqlite::builder().on_open(|sql| sql.execute_batch(SCHEMA)).build_temporary()?; // or `build(file)`
    let connections = Arc::new(Pool::builder().max_size(10).build(sqlite));
    let writes = Arc::new(Transaction::new(connections.clone()));
    let scopes = Scopes::new(); // one per server; each request gets a scope of its own
    let app = Router::new()
        .route("/notes", get(list).post(create))
        .route("/notes/{id}", put(update).delete(delete))
        .with_state(App { connections, writes })
        .layer(ScopeLayer::new(&scopes).timeout(Duration::from_secs(10)));

    // `axum::serve` works as well, but it does not notice every client that leaves, and it returns before the last
    // release.
    let ctrl_c = async { tokio::signal::ctrl_c().await.expect("the handler of ctrl-c can be set") };
    let report = serve(listener, TowerToHyperService::new(app), &scopes).graceful(ctrl_c).await;
    println!("the server has ended: {:?}", report.drained);
    Ok(())
}
