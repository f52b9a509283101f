//! What can be told of a prepared statement by its answer, as the driver keeps its text to itself.

use mysql_async::prelude::{FromRow, Queryable, StatementLike};
use mysql_async::{Conn, Error, Params};

/// Executes it and folds its rows, the first set of them if there are several. Says also whether it may have strayed, as
/// [`may_outlive_reset`](crate::text::may_outlive_reset) does of a text.
///
/// It may if its answer has no row and changed none, as those of USE and SET ROLE, which MariaDB prepares, too; and if there
/// are several sets, which only a procedure's answer has.
pub(crate) async fn fold<T, U>(
    conn: &mut Conn,
    statement: impl StatementLike,
    params: impl Into<Params> + Send,
    init: U,
    fold: impl FnMut(U, T) -> U + Send,
) -> Result<(U, bool), Error>
where
    T: FromRow + Send + 'static,
{
    let mut answer = conn.exec_iter(statement, params).await?;
    let changed_nothing = answer.columns_ref().is_empty() && answer.affected_rows() == 0;
    let value = answer.reduce(init, fold).await?;
    let has_another_set = answer.columns().is_some();
    answer.drop_result().await?;
    Ok((value, changed_nothing || has_another_set))
}
