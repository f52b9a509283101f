//! Executes prepared statements, and judges them by their answer, because the driver does not expose their text.

use mysql_async::prelude::{FromRow, Queryable, StatementLike};
use mysql_async::{Conn, Error, Params};

/// Executes a statement and folds its rows, those of the first set if there are several. Also returns whether its
/// effect may outlive a reset, as [`may_outlive_reset`](crate::text::may_outlive_reset) does for a text.
///
/// It may if the answer has no rows and changed none, like those of USE and SET ROLE, which MariaDB can prepare too;
/// and if there are several sets, which only a procedure returns.
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
