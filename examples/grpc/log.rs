//! The service: what you write yourself.
use std::error::Error;
use std::sync::Arc;

use futures_util::stream::{Stream, try_unfold};
use reqscope::error::{Chain, Class};
use reqscope::{Guard, Lease, Pool, ScopeHandle};
use reqscope_sqlite::rusqlite::OptionalExtension;
use reqscope_sqlite::{Sqlite, Transaction};
use tonic::{Request, Response, Status};

use crate::messages::{Line, Lines, Nothing, Total};

pub(crate) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS log (line TEXT NOT NULL)";

#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) writes: Arc<Transaction<Pool<Sqlite>>>,
    pub(crate) snapshots: Arc<Transaction<Pool<Sqlite>>>,
}

impl Log {
    /// Appends all of the lines, or none.
    pub(crate) async fn append(self, request: Request<Lines>) -> Result<Response<Total>, Status> {
        let writes = scope(&request)?.lazy(&self.writes);
        let mut tx = writes.get().await.map_err(status)?; // first use: a connection, and BEGIN
        for line in request.into_inner().lines {
            if line.is_empty() {
                return Err(Status::invalid_argument("a line is empty")); // ROLLBACK of those before it
            }
            tx.call(move |sql| sql.execute("INSERT INTO log VALUES (?1)", [line])).await.map_err(status)?;
        }
        let count = tx.call(|sql| sql.query_row("SELECT count(*) FROM log", (), |row| row.get(0)));
        let total = count.await.map_err(status)?;
        Ok(Response::new(Total { total })) // COMMIT before the answer
    }

    /// Streams the lines that there are now, whatever is appended meanwhile.
    pub(crate) async fn read(
        self,
        request: Request<Nothing>,
    ) -> Result<Response<impl Stream<Item = Result<Line, Status>> + use<>>, Status> {
        let snapshot = scope(&request)?.lazy(&self.snapshots).get().await.map_err(status)?;
        // The scope ends when this function returns, and the stream owns the snapshot from here on. If the client goes,
        // the stream is dropped and the lease with it, which releases the snapshot as cancelled.
        let lease = Guard::detach(snapshot);
        Ok(Response::new(try_unfold((lease, 0), |(mut lease, last)| async move {
            let select = "SELECT rowid, line FROM log WHERE rowid > ?1 ORDER BY rowid LIMIT 1";
            let next = lease.call(move |sql| {
                sql.query_row(select, [last], |row| Ok((row.get("rowid")?, row.get("line")?))).optional()
            });
            if let Some((id, text)) = next.await.map_err(status)? {
                return Ok(Some((Line { text }, (lease, id))));
            }
            Lease::complete(lease).await.map_err(status)?; // an error here is the `grpc-status` of the stream
            Ok(None)
        })))
    }
}

/// Returns the scope that the layer has put into the request.
fn scope<T>(request: &Request<T>) -> Result<&ScopeHandle, Status> {
    request.extensions().get().ok_or_else(|| Status::internal("the ScopeLayer is missing"))
}

/// Turns an error into the status for the client: whether to try again, without the cause.
fn status(error: impl Error + 'static) -> Status {
    eprintln!("{}", Chain(&error));
    let class = Class::find(&error).filter(|class| !class.is_unknown_outcome());
    if class.is_some_and(|it| it.is_unavailable() || it.is_exhausted() || it.is_timeout() || it.is_closed()) {
        Status::unavailable("the log is not available, please try again")
    } else {
        Status::internal("the log has failed")
    }
}
