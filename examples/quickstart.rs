//! A server that counts its visitors in a database, and loses no connection and no visit.
//!
//! ```text
//! cargo run --example quickstart -- 8080
//! ```
//!
//! This also compiles the dependencies of the storm. To compile only what this example needs:
//!
//! ```text
//! cargo run -p reqscope-examples --no-default-features --features hyper,sqlite --example quickstart -- 8080
//! ```
use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use reqscope::error::Chain;
use reqscope::{Error, Lazy, Scopes};
use reqscope_hyper::{RequestExt, ScopeService, serve};
use reqscope_sqlite::{Sqlite, SqliteError, Transaction};
use tokio::net::TcpListener;

type Db = Transaction<Sqlite>;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS visits (path TEXT NOT NULL)";

/// Counts a visit. The handler and all that it calls may ask for the database: they share one transaction.
async fn visit(db: &Lazy<Db>, path: String) -> Result<u32, Error<SqliteError>> {
    let mut transaction = db.get().await?; // first use: a connection, and BEGIN
    let count = transaction.call(move |sql| {
        sql.execute("INSERT INTO visits VALUES (?1)", [&path])?;
        sql.query_row("SELECT count(*) FROM visits WHERE path = ?1", [&path], |row| row.get(0))
    });
    Ok(count.await?)
}

async fn answer(request: Request<Incoming>, db: Arc<Db>) -> Result<Response<String>, Infallible> {
    let db = request.scope().lazy(&db); // nothing is opened yet
    Ok(match visit(&db, request.uri().path().to_owned()).await {
        Ok(count) => Response::new(format!("visit number {count}\n")), // COMMIT, and then the head is sent
        Err(error) => {
            eprintln!("{}", Chain(&error));
            let mut response = Response::new("no visit\n".to_owned());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR; // ROLLBACK
            response
        }
    }) // if the client hangs up or the handler panics, this future is dropped: ROLLBACK
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("try: curl http://{}/hello    (ctrl-c ends it)", listener.local_addr()?);

    let folder = tempfile::tempdir()?; // removed when the server ends
    let sqlite = Sqlite::builder().on_open(|sql| sql.execute_batch(SCHEMA)).build(folder.path().join("visits.db"));
    let db = Arc::new(Transaction::new(Arc::new(sqlite)));
    let scopes = Scopes::new(); // one per server; each request gets a scope of its own
    let service = ScopeService::new(&scopes, service_fn(move |request| answer(request, db.clone())));
    let ctrl_c = async { tokio::signal::ctrl_c().await.expect("the handler of ctrl-c can be set") };
    let report = serve(listener, service, &scopes).graceful(ctrl_c).await;
    println!("the server has ended: {:?}", report.drained);
    Ok(())
}
