//! A server that counts its visitors in a database, and loses no connection and no visit.
//!
//! ```text
//! cargo run --example quickstart -- 8080
//! ```
//!
//! Each request that asks for the transaction gets one of its own. It is committed before the client hears `200`, and
//! rolled back if the handler fails, or is cut because the client has hung up.
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use reqscope::{Error, Lazy, Scopes};
use reqscope_hyper::{RequestExt, ScopeService, serve};
use reqscope_sqlite::{Sqlite, SqliteError, Transaction};
use tokio::net::TcpListener;

type Db = Transaction<Sqlite>;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS visits (path TEXT NOT NULL)";

/// Any function of the request may ask for the database: all of them work in the same transaction.
async fn visit(db: &Lazy<Db>, path: String) -> Result<i64, Error<SqliteError>> {
    let mut transaction = db.get().await?; // first use: a connection, and BEGIN
    let count = transaction.call(move |sql| {
        sql.execute("INSERT INTO visits VALUES (?1)", [&path])?;
        sql.query_row("SELECT count(*) FROM visits WHERE path = ?1", [&path], |row| row.get(0))
    });
    Ok(count.await?)
}

async fn answer(db: Lazy<Db>, path: String) -> Result<Response<Full<Bytes>>, Error<SqliteError>> {
    let mut response = Response::default();
    if path == "/favicon.ico" {
        *response.status_mut() = StatusCode::NOT_FOUND; // nobody asked for the database, so nothing was opened
        return Ok(response);
    }
    let count = visit(&db, path.clone()).await?;
    *response.body_mut() = Full::from(format!("visit number {count} to {path}\n"));
    Ok(response) // 2xx: COMMIT, and then the head is sent
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("try: curl http://{}/hello    (ctrl-c ends it)", listener.local_addr()?);

    let sqlite = Sqlite::builder().on_open(|sql| sql.execute_batch(SCHEMA)).build_temporary()?;
    let db = Arc::new(Transaction::new(Arc::new(sqlite)));
    let scopes = Scopes::new();
    let service = service_fn(move |request: Request<Incoming>| {
        answer(request.scope().lazy(&db), request.uri().path().to_owned())
    });
    let ctrl_c = async { tokio::signal::ctrl_c().await.expect("the signal can be heard") };
    let report = serve(listener, ScopeService::new(&scopes, service), &scopes).graceful(ctrl_c).await;
    println!("{:?}", report.drained);
    Ok(())
}
