//! A log over gRPC: each call is one transaction, and a stream of lines owns its snapshot.
//!
//! ```text
//! cargo run --example grpc --features grpc
//! ```
//!
//! With tonic, and without protoc: what protoc would generate is written by hand in `messages.rs` and
//! `service.rs`, and what you write yourself is in `log.rs`. The client is in this file and shows what was committed.
mod log;
mod messages;
mod service;

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Pool, Scopes};
use reqscope_sqlite::{Sqlite, Transaction};
use reqscope_tower::{ByGrpcStatus, ScopeLayer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Status;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};

use log::{Log, SCHEMA};
use service::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sqlite = Sqlite::builder().on_open(|sql| sql.execute_batch(SCHEMA)).build_temporary()?;
    let pool = Arc::new(Pool::builder().max_size(4).build(sqlite));
    let log = Log {
        writes: Arc::new(Transaction::new(pool.clone())),
        snapshots: Arc::new(Transaction::read_only(pool.clone())),
    };

    let scopes = Scopes::new();
    // In gRPC every response is a 200. What counts is its `grpc-status`, also where the COMMIT has failed.
    let layer = ScopeLayer::new(&scopes)
        .classify(ByGrpcStatus)
        .on_failed_settle(|_| Status::unavailable("nothing was committed").into_http());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::builder()
        .layer(layer)
        .add_routes(service::routes(log))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), async { drop(stopped.await) });
    let server = tokio::spawn(server);

    let mut client = Client::new(Endpoint::try_from(format!("http://{address}"))?.connect().await?);
    for lines in [&["one", "two"][..], &["three", ""], &["four"]] {
        match client.append(lines).await {
            Ok(total) => println!("append {lines:?}: {total} lines"),
            Err(status) => println!("append {lines:?}: {}", status.message()),
        }
    }
    println!("read: {:?}", client.read().await?);

    drop((client, stop));
    server.await??;
    // tonic waits for the responses; this waits for the releases that are still pending.
    let report = scopes.drain(Duration::from_secs(5)).await;
    println!("the server has ended: {report:?}; {} database connections in use", pool.status().in_use);
    Ok(())
}
