//! The database: one pool of connections, and the transaction of each request.
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use reqscope::{Lazy, Pool};
use reqscope_sqlite::{Sqlite, Transaction};
use reqscope_tower::{RequestScope, ScopeError};

pub(crate) type Connections = Pool<Sqlite>;
pub(crate) type Transactions = Transaction<Connections>;

/// The state of the router. Its clones share everything.
#[derive(Clone)]
pub(crate) struct Db {
    pub(crate) connections: Arc<Connections>,
    /// Transactions that read and write. They queue: SQLite has one writer at a time.
    pub(crate) writing: Arc<Transactions>,
    /// Transactions that see one snapshot and wait for no writer. A write in one of them fails.
    pub(crate) reading: Arc<Transactions>,
}

impl Db {
    /// Creates a pool over `sqlite`. Opens no connection yet.
    pub(crate) fn new(sqlite: Sqlite) -> Self {
        // The pool keeps one connection idle, so it also looks once a second whether a database that was down is back.
        // No request would do so while `GET /health/ready` answers 503 and the load balancer sends none.
        let pool = Pool::builder().name("shop").max_size(10).min_idle(1).acquire_timeout(Duration::from_secs(5));
        let connections = Arc::new(pool.build(sqlite));
        Db {
            writing: Arc::new(Transaction::new(connections.clone())),
            reading: Arc::new(Transaction::read_only(connections.clone())),
            connections,
        }
    }
}

/// An extractor for the transaction of the request: read-only for GET and HEAD, writing for every other method.
///
/// Extracting it does no I/O. The first `get` begins the transaction, and everything that extracts a `Tx` in the same
/// request shares it: the middleware in [`auth`](crate::auth) and the handler, for example. They take turns, so drop
/// the guard before you call what wants it next.
///
/// With one kind of transaction, `reqscope_tower::Scoped` is all you need. It finds a resource in the state by its type;
/// two of one type are told apart by `reqscope::wrap::Tagged`, in handlers that each want a certain one. Here the method
/// of the request decides, so both kinds have the same type.
pub(crate) struct Tx(pub(crate) Lazy<Transactions>);

impl FromRequestParts<Db> for Tx {
    type Rejection = ScopeError;

    async fn from_request_parts(parts: &mut Parts, db: &Db) -> Result<Self, ScopeError> {
        let RequestScope(scope) = RequestScope::from_request_parts(parts, db).await?;
        let transactions = if parts.method.is_safe() { &db.reading } else { &db.writing };
        Ok(Tx(scope.lazy(transactions)))
    }
}
