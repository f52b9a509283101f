//! Helpers of the tests.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Lease, Pool};
use reqscope_driver::Transaction;

use crate::kv::Kv;
use crate::server::Server;

/// A limit longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn kv(server: &Server) -> Kv {
    kv_within(server, PATIENCE)
}

/// Returns connections whose operations have this limit.
pub(crate) fn kv_within(server: &Server, limit: Duration) -> Kv {
    Kv { host: "127.0.0.1", port: server.port(), limit }
}

pub(crate) fn pool(server: &Server, size: usize) -> Arc<Pool<Kv>> {
    Arc::new(Pool::builder().max_size(size).build(kv(server)))
}

pub(crate) fn transactions(pool: &Arc<Pool<Kv>>) -> Arc<Transaction<Pool<Kv>>> {
    Arc::new(Transaction::new(Arc::clone(pool)))
}

/// Checks that the next user of the pool gets right answers and is in no transaction. Returns the id of its connection.
pub(crate) async fn next_user(pool: &Arc<Pool<Kv>>) -> u64 {
    let mut next = Lease::acquire(pool).await.unwrap();
    assert_eq!(next.ask("ECHO 7").await.unwrap(), "7");
    assert_eq!(next.ask("COMMIT").await.unwrap_err().to_string(), "the server answered: no transaction");
    let id = next.id();
    Lease::complete(next).await.unwrap();
    id
}
