//! The driver's trait, with each operation marked as in flight from its first poll to its end.

use mysql_async::prelude::{AsQuery, FromRow, Queryable, StatementLike};
use mysql_async::{BinaryProtocol, Params, QueryResult, ResultSetStream, Row, Statement, TextProtocol, from_row};

use crate::MySqlConn;
use crate::prepared;
use crate::session::Activity;
use crate::text::may_outlive_reset;

/// The future type of the driver's trait, which does not export it.
type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, mysql_async::Error>> + Send + 'a>>;

/// Runs a text whose answer is read to its end.
macro_rules! query {
    ($conn:ident . $method:ident ( $query:ident $(, $argument:expr)* )) => {
        Box::pin(async move {
            $conn.ready().await?;
            let MySqlConn { conn, session, .. } = $conn;
            session.may_outlive_reset |= may_outlive_reset(&$query);
            // If this is dropped here, the connection is in doubt.
            let answer = session.run(Activity::Idle, conn.$method($query $(, $argument)*)).await?;
            session.read_transaction_state(conn);
            Ok(answer)
        })
    };
}

/// Runs a text whose rows are read by the caller, without a deadline.
macro_rules! query_rows {
    ($conn:ident . $method:ident ( $query:ident )) => {
        Box::pin(async move {
            $conn.ready().await?;
            let MySqlConn { conn, session, .. } = $conn;
            session.may_outlive_reset |= may_outlive_reset(&$query);
            // If this is dropped here, the connection is in doubt.
            session.run(Activity::Rows, conn.$method($query)).await
        })
    };
}

/// Runs a prepared statement, reads its answer to the end and folds the rows.
macro_rules! exec {
    ($conn:ident, $statement:ident, $params:ident, $init:expr, $fold:expr) => {
        Box::pin(async move {
            $conn.ready().await?;
            let MySqlConn { conn, session, .. } = $conn;
            // If this is dropped here, the connection is in doubt.
            let answer = session.run(Activity::Idle, prepared::fold(conn, $statement, $params, $init, $fold)).await;
            let (value, may_outlive_reset) = answer?;
            session.may_outlive_reset |= may_outlive_reset;
            session.read_transaction_state(conn);
            Ok(value)
        })
    };
}

/// # Errors
///
/// Each method returns the driver's errors and, as [`Other`](mysql_async::Error::Other), a
/// [`MySqlError`](crate::MySqlError): `InDoubt` if an earlier operation was cut, `TimedOut` after the [operation
/// timeout](crate::MySqlBuilder::operation_timeout), `Closed`, and `NotOpen` in a transaction that the server has
/// ended. In all these cases except `TimedOut`, nothing was sent.
///
/// # Cancel safety
///
/// A future that is dropped after its first poll and before its end leaves the connection in doubt; its statement is
/// stopped on the server when the connection is released. A stream or a [`QueryResult`] may be dropped with rows left
/// to read.
impl Queryable for MySqlConn {
    fn ping(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.ready().await?;
            let MySqlConn { conn, session, .. } = self;
            // If this is dropped here, the connection is in doubt.
            session.run(Activity::Idle, conn.ping()).await?;
            session.read_transaction_state(conn);
            Ok(())
        })
    }

    fn query_iter<'a, Q>(&'a mut self, query: Q) -> BoxFuture<'a, QueryResult<'a, 'static, TextProtocol>>
    where
        Q: AsQuery + 'a,
    {
        query_rows!(self.query_iter(query))
    }

    fn prep<'a, Q>(&'a mut self, query: Q) -> BoxFuture<'a, Statement>
    where
        Q: AsQuery + 'a,
    {
        Box::pin(async move {
            self.ready().await?;
            let MySqlConn { conn, session, .. } = self;
            let transaction = session.transaction;
            // If this is dropped here, the connection is in doubt.
            let statement = session.run(Activity::Idle, conn.prep(query)).await?;
            // Preparing ends no transaction, and its answer does not include the state of one.
            session.transaction = transaction;
            Ok(statement)
        })
    }

    fn close(&mut self, statement: Statement) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.ready().await?;
            let MySqlConn { conn, session, .. } = self;
            let transaction = session.transaction;
            // If this is dropped here, the connection is in doubt.
            session.run(Activity::Idle, conn.close(statement)).await?;
            // The server does not answer this command.
            session.transaction = transaction;
            Ok(())
        })
    }

    fn exec_iter<'a: 's, 's, Q, P>(
        &'a mut self,
        statement: Q,
        params: P,
    ) -> BoxFuture<'s, QueryResult<'a, 'static, BinaryProtocol>>
    where
        Q: StatementLike + 's,
        P: Into<Params>,
    {
        let params = params.into();
        Box::pin(async move {
            self.ready().await?;
            let MySqlConn { conn, session, .. } = self;
            // The answer of a procedure may have more parts, which are not visible here.
            session.may_outlive_reset = true;
            // If this is dropped here, the connection is in doubt.
            session.run(Activity::Rows, conn.exec_iter(statement, params)).await
        })
    }

    fn query<'a, T, Q>(&'a mut self, query: Q) -> BoxFuture<'a, Vec<T>>
    where
        Q: AsQuery + 'a,
        T: FromRow + Send + 'static,
    {
        query!(self.query(query))
    }

    fn query_first<'a, T, Q>(&'a mut self, query: Q) -> BoxFuture<'a, Option<T>>
    where
        Q: AsQuery + 'a,
        T: FromRow + Send + 'static,
    {
        query!(self.query_first(query))
    }

    fn query_map<'a, T, F, Q, U>(&'a mut self, query: Q, f: F) -> BoxFuture<'a, Vec<U>>
    where
        Q: AsQuery + 'a,
        T: FromRow + Send + 'static,
        F: FnMut(T) -> U + Send + 'a,
        U: Send,
    {
        query!(self.query_map(query, f))
    }

    fn query_fold<'a, T, F, Q, U>(&'a mut self, query: Q, init: U, f: F) -> BoxFuture<'a, U>
    where
        Q: AsQuery + 'a,
        T: FromRow + Send + 'static,
        F: FnMut(U, T) -> U + Send + 'a,
        U: Send + 'a,
    {
        query!(self.query_fold(query, init, f))
    }

    fn query_drop<'a, Q>(&'a mut self, query: Q) -> BoxFuture<'a, ()>
    where
        Q: AsQuery + 'a,
    {
        query!(self.query_drop(query))
    }

    fn exec_batch<'a: 'b, 'b, S, P, I>(&'a mut self, statement: S, params: I) -> BoxFuture<'b, ()>
    where
        S: StatementLike + 'b,
        I: IntoIterator<Item = P> + Send + 'b,
        I::IntoIter: Send,
        P: Into<Params> + Send,
    {
        Box::pin(async move {
            self.ready().await?;
            let MySqlConn { conn, session, .. } = self;
            // The answers are not visible.
            session.may_outlive_reset = true;
            // If this is dropped here, the connection is in doubt. The transaction state is not read: if `params` is
            // empty, the only answer was that of the preparation.
            session.run(Activity::Idle, conn.exec_batch(statement, params)).await
        })
    }

    fn exec<'a: 'b, 'b, T, S, P>(&'a mut self, statement: S, params: P) -> BoxFuture<'b, Vec<T>>
    where
        S: StatementLike + 'b,
        P: Into<Params> + Send + 'b,
        T: FromRow + Send + 'static,
    {
        exec!(self, statement, params, Vec::new(), |mut rows, row: T| {
            rows.push(row);
            rows
        })
    }

    fn exec_first<'a: 'b, 'b, T, S, P>(&'a mut self, statement: S, params: P) -> BoxFuture<'b, Option<T>>
    where
        S: StatementLike + 'b,
        P: Into<Params> + Send + 'b,
        T: FromRow + Send + 'static,
    {
        exec!(self, statement, params, None, |first: Option<T>, row: Row| first.or_else(|| Some(from_row(row))))
    }

    fn exec_map<'a: 'b, 'b, T, S, P, U, F>(&'a mut self, statement: S, params: P, mut f: F) -> BoxFuture<'b, Vec<U>>
    where
        S: StatementLike + 'b,
        P: Into<Params> + Send + 'b,
        T: FromRow + Send + 'static,
        F: FnMut(T) -> U + Send + 'a,
        U: Send + 'a,
    {
        exec!(self, statement, params, Vec::new(), |mut mapped, row: T| {
            mapped.push(f(row));
            mapped
        })
    }

    fn exec_fold<'a: 'b, 'b, T, S, P, U, F>(&'a mut self, statement: S, params: P, init: U, f: F) -> BoxFuture<'b, U>
    where
        S: StatementLike + 'b,
        P: Into<Params> + Send + 'b,
        T: FromRow + Send + 'static,
        F: FnMut(U, T) -> U + Send + 'a,
        U: Send + 'a,
    {
        exec!(self, statement, params, init, f)
    }

    fn exec_drop<'a: 'b, 'b, S, P>(&'a mut self, statement: S, params: P) -> BoxFuture<'b, ()>
    where
        S: StatementLike + 'b,
        P: Into<Params> + Send + 'b,
    {
        exec!(self, statement, params, (), |(), _row: Row| ())
    }

    fn query_stream<'a, T, Q>(
        &'a mut self,
        query: Q,
    ) -> BoxFuture<'a, ResultSetStream<'a, 'a, 'static, T, TextProtocol>>
    where
        T: Unpin + FromRow + Send + 'static,
        Q: AsQuery + 'a,
    {
        query_rows!(self.query_stream(query))
    }

    fn exec_stream<'a: 's, 's, T, Q, P>(
        &'a mut self,
        statement: Q,
        params: P,
    ) -> BoxFuture<'s, ResultSetStream<'a, 'a, 'static, T, BinaryProtocol>>
    where
        T: Unpin + FromRow + Send + 'static,
        Q: StatementLike + 's,
        P: Into<Params> + Send + 's,
    {
        Box::pin(async move {
            self.ready().await?;
            let MySqlConn { conn, session, .. } = self;
            // The answer of a procedure may have more parts, which are not visible here.
            session.may_outlive_reset = true;
            // If this is dropped here, the connection is in doubt.
            session.run(Activity::Rows, conn.exec_stream(statement, params)).await
        })
    }
}
