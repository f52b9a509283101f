//! A streamed download: the body keeps its connection after the handler has returned.
//!
//! ```text
//! cargo run --example streaming --features axum
//! ```
//!
//! A scope ends when the handler returns, so that a slow reader holds no connection. This download has to hold one: all
//! rows are read from one snapshot, and there are too many of them to collect. So the handle is detached from the
//! scope, and the body owns it. It is released at the end of the body, or when the client hangs up.
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::{Router, routing::get};
use reqscope::{Guard, Lease, Pool, Scopes};
use reqscope_hyper::{TowerToHyperService, serve};
use reqscope_sqlite::{Sqlite, SqliteConn, SqliteError, Transaction};
use reqscope_tower::{LeaseBody, ScopeError, ScopeLayer, Scoped};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// More rows than the kernel buffers, so that a client can hang up in the middle.
const SCHEMA: &str = "CREATE TABLE readings (day INTEGER, value TEXT);
                      CREATE INDEX by_day ON readings (day);
                      WITH RECURSIVE counted AS (SELECT 0 AS n UNION ALL SELECT n + 1 FROM counted WHERE n < 36499)
                      INSERT INTO readings SELECT n % 365 + 1, hex(zeroblob(500)) FROM counted";

type Connections = Pool<Sqlite>;
type Snapshot = Transaction<Connections>;

/// Streams the readings of a year, a day at a time.
async fn year(Scoped(snapshot): Scoped<Snapshot>) -> Result<Body, ScopeError> {
    let lease = Guard::detach(snapshot.get().await?); // detached from the scope, which ends here
    let mut days = 1..=365;
    Ok(Body::new(LeaseBody::from_fn(lease, move |mut lease| {
        let day = days.next();
        async move {
            let rows = match day {
                Some(day) => Some(rows(&mut lease, day).await?),
                None => None, // the end: the lease is completed
            };
            Ok::<_, SqliteError>((lease, rows))
        } // dropped before the end: the lease is cancelled, and a running query is interrupted
    })))
}

/// Reads the rows of a day, which is all that is in memory at a time.
async fn rows(conn: &mut SqliteConn, day: u16) -> Result<Bytes, SqliteError> {
    let rows = conn.call(move |sql| {
        let mut rows = sql.prepare_cached("SELECT value FROM readings WHERE day = ?1")?;
        let rows = rows.query_map([day], |row| Ok(format!("{day},{}\n", row.get_ref(0)?.as_str()?)))?;
        rows.collect::<Result<String, _>>()
    });
    Ok(rows.await?.into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sqlite = Sqlite::builder().build_temporary()?;
    let connections = Arc::new(Pool::builder().max_size(4).build(sqlite));
    let mut setup = Lease::acquire(&connections).await?; // outside of any request
    setup.call(|sql| sql.execute_batch(SCHEMA)).await?;
    Lease::complete(setup).await?;

    let scopes = Scopes::new();
    let app = Router::new()
        .route("/year", get(year))
        .with_state(Arc::new(Transaction::read_only(connections.clone())))
        .layer(ScopeLayer::new(&scopes));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve(listener, TowerToHyperService::new(app), &scopes);
    let server = tokio::spawn(server.graceful(async { drop(stopped.await) }).into_future());

    let show = |what: &str| {
        let status = connections.status();
        println!(
            "{what}: {} in use, {} idle, {} open scopes",
            status.in_use,
            status.idle,
            scopes.stats().open_scopes
        );
    };
    let request = b"GET /year HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

    let mut client = TcpStream::connect(address).await?;
    client.write_all(request).await?;
    let mut answer = vec![0; 1000];
    client.read_exact(&mut answer).await?;
    show("a client reads");
    let read = client.read_to_end(&mut answer).await?;
    scopes.drain(Duration::from_secs(5)).await; // waits until every handle has been released
    show(&format!("it has read the other {read} bytes"));

    let mut client = TcpStream::connect(address).await?;
    client.write_all(request).await?;
    client.read_exact(&mut [0; 1000]).await?;
    show("another client reads");
    drop(client);
    scopes.drain(Duration::from_secs(5)).await;
    show("it has hung up");

    drop(stop);
    let report = server.await?;
    println!("the server has ended: {:?}", report.drained);
    Ok(())
}
