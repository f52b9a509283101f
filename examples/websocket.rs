//! A log over a WebSocket: the connection outlives its request and opens scopes of its own.
//!
//! ```text
//! cargo run --example websocket --features websocket
//! ```
//!
//! The scope of a request ends with the 101 that upgrades it. After that there is no response to classify, so the code
//! that handles the socket decides when a scope begins and how it ends.
//!
//! Open **a scope for each message**, as here, if each message is a unit of work: it commits or not, whatever the next
//! one does, and an idle client holds no database connection. Open **a scope for the connection** if the connection
//! itself is the unit of work: a file that is uploaded in many messages and kept if the last one arrives, or a lock
//! that is held while the client is connected. Both can be combined.
use std::future::IntoFuture;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use futures_util::{SinkExt, StreamExt};
use reqscope::{Error, Lazy, Pool, Scopes};
use reqscope_hyper::{Connection, TowerToHyperService, serve};
use reqscope_sqlite::{Sqlite, SqliteError, Transaction};
use reqscope_tower::ScopeLayer;
use tokio::net::TcpListener;
use tokio::select;
use tokio::sync::oneshot;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS log (line TEXT NOT NULL CHECK (line <> ''))";

type Writes = Transaction<Pool<Sqlite>>;

#[derive(Clone)]
struct App {
    scopes: Scopes,
    writes: Arc<Writes>,
}

async fn open(
    State(app): State<App>,
    Extension(connection): Extension<Connection>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(|socket| run(app, connection, socket))
}

/// Answers messages until the client has gone or the server shuts down.
async fn run(app: App, connection: Connection, mut socket: WebSocket) {
    loop {
        let message = select! {
            message = socket.recv() => message,
            () = connection.shutting_down() => break,
        };
        let text = match message {
            Some(Ok(Message::Text(text))) => text.to_string(),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue, // axum answers them
            _ => break,
        };
        let answer = answer(&app, text).await;
        // The scope has ended: a client that reads slowly, or not at all, holds no connection.
        if socket.send(answer.into()).await.is_err() {
            break;
        }
    }
    // The client may have gone already.
    drop(socket.send(Message::Close(None)).await);
}

/// Answers a message, in a scope of its own, whose COMMIT is awaited before the answer.
///
/// A panic drops the scope, which rolls back. A client that hangs up does not: the socket is not read meanwhile.
async fn answer(app: &App, message: String) -> String {
    let writes = Arc::clone(&app.writes);
    let job = app.scopes.run(async move |scope| append(&scope.lazy(&writes), message).await.map_err(JobError::from));
    match job.await {
        Ok(count) => format!("{count} lines"),
        Err(failed) => {
            eprintln!("{failed:?}");
            "not kept".to_owned()
        }
    }
}

type JobError = Box<dyn std::error::Error + Send + Sync>;

/// Appends all lines of the message, or none.
async fn append(writes: &Lazy<Writes>, message: String) -> Result<u32, Error<SqliteError>> {
    let mut tx = writes.get().await?; // first use: a connection, and BEGIN
    let count = tx.call(move |sql| {
        for line in message.lines() {
            sql.execute("INSERT INTO log VALUES (?1)", [line])?;
        }
        sql.query_row("SELECT count(*) FROM log", (), |row| row.get(0))
    });
    Ok(count.await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sqlite = Sqlite::builder().on_open(|sql| sql.execute_batch(SCHEMA)).build_temporary()?;
    let pool = Arc::new(Pool::builder().max_size(2).build(sqlite));
    let app = App { scopes: Scopes::new(), writes: Arc::new(Transaction::new(pool.clone())) };
    let scopes = app.scopes.clone();
    let router = Router::new().route("/log", any(open)).with_state(app).layer(ScopeLayer::new(&scopes));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve(listener, TowerToHyperService::new(router), &scopes);
    let server = tokio::spawn(server.graceful(async { drop(stopped.await) }).into_future());

    let (mut client, _response) = tokio_tungstenite::connect_async(format!("ws://{address}/log")).await?;
    for message in ["one\ntwo", "three\n\nfour", "five"] {
        client.send(message.into()).await?;
        let answer = client.next().await.ok_or("the server has hung up")??;
        println!("{message:?}: {answer}");
    }
    println!("the client is idle: {} database connections in use", pool.status().in_use);

    drop(stop);
    println!("the server shuts down: {:?}", client.next().await.transpose()?);
    let report = server.await?;
    println!("the server has ended: {:?}", report.drained);
    Ok(())
}
