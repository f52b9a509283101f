//! The suite of laws, which is the acceptance of an adapter: with a use, so that it can cut one, and with a census of the
//! server's connections.

use std::sync::Arc;

use reqscope::{Pool, Resource};
use reqscope_driver::{ReadOnly, Transaction};
use reqscope_testkit::laws;

use crate::kv::{Kv, KvConn, KvError};
use crate::server::Server;
use crate::support::kv;

async fn ask(conn: &mut KvConn, user: u32) -> Result<u32, KvError> {
    let answer = conn.ask(&format!("ECHO {user}")).await?;
    Ok(answer.parse().unwrap())
}

async fn keeps_the_laws<R: Resource>(
    make: impl Fn(Kv) -> R,
    operation: impl AsyncFn(&mut R::Handle, u32) -> Result<u32, KvError>,
) {
    let server = Server::start().await.unwrap();
    laws(|_probe| make(kv(&server))).with_use(operation).with_census(async || server.open()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_keeps_the_laws() {
    keeps_the_laws(|kv| kv, async |conn, user| ask(conn, user).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pooled_connection_keeps_the_laws() {
    keeps_the_laws(Pool::new, async |conn, user| ask(conn, user).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_keeps_the_laws() {
    keeps_the_laws(|kv| Transaction::new(Arc::new(kv)), async |tx, user| ask(tx, user).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_over_a_pool_keeps_the_laws() {
    keeps_the_laws(|kv| Transaction::new(Arc::new(Pool::new(kv))), async |tx, user| ask(tx, user).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_transaction_over_a_pool_keeps_the_laws() {
    keeps_the_laws(|kv| ReadOnly::new(Arc::new(Pool::new(kv))), async |tx, user| ask(tx, user).await).await;
}
