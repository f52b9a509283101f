//! What can be told of a prepared statement by its answer, as the driver keeps its text to itself.

use mysql_async::prelude::{AsQuery, Queryable, StatementLike};
use mysql_async::{BinaryProtocol, Conn, Error, Params, QueryResult, Statement, TextProtocol};

/// What the driver's trait returns; it does not export the name.
pub(crate) type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The driver's connection, with an eye on the answers to prepared statements.
pub(crate) struct Witness<'conn> {
    conn: &'conn mut Conn,
    has_seen: bool,
}

impl<'conn> Witness<'conn> {
    pub(crate) fn new(conn: &'conn mut Conn) -> Self {
        Witness { conn, has_seen: false }
    }

    /// Was there an answer that changed no row and had none, as those of USE, SET ROLE and CALL? MariaDB prepares them, too.
    pub(crate) fn has_seen(&self) -> bool {
        self.has_seen
    }
}

/// The same of one answer.
pub(crate) fn changed_nothing(answer: &QueryResult<'_, '_, BinaryProtocol>) -> bool {
    answer.columns_ref().is_empty() && answer.affected_rows() == 0
}

/// The methods that the driver's own build upon.
impl Queryable for Witness<'_> {
    fn ping(&mut self) -> BoxFuture<'_, ()> {
        self.conn.ping()
    }

    fn query_iter<'a, Q>(&'a mut self, query: Q) -> BoxFuture<'a, QueryResult<'a, 'static, TextProtocol>>
    where
        Q: AsQuery + 'a,
    {
        self.conn.query_iter(query)
    }

    fn prep<'a, Q>(&'a mut self, query: Q) -> BoxFuture<'a, Statement>
    where
        Q: AsQuery + 'a,
    {
        self.conn.prep(query)
    }

    fn close(&mut self, statement: Statement) -> BoxFuture<'_, ()> {
        self.conn.close(statement)
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
            let answer = self.conn.exec_iter(statement, params).await?;
            self.has_seen |= changed_nothing(&answer);
            Ok(answer)
        })
    }

    fn exec_batch<'a: 'b, 'b, S, P, I>(&'a mut self, statement: S, params: I) -> BoxFuture<'b, ()>
    where
        S: StatementLike + 'b,
        I: IntoIterator<Item = P> + Send + 'b,
        I::IntoIter: Send,
        P: Into<Params> + Send,
    {
        Box::pin(async move {
            self.conn.exec_batch(statement, params).await?;
            // Of the last one only, and of the others it is the same statement.
            self.has_seen |= self.conn.affected_rows() == 0;
            Ok(())
        })
    }
}
