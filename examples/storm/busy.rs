//! Which errors say that another one was in the way.
use anyhow::Chain;
use reqscope_sqlite::SqliteError;

/// Did the database refuse, somewhere down this chain, because it was locked?
pub(crate) fn is_busy(mut chain: Chain<'_>) -> bool {
    chain.any(|error| error.downcast_ref::<SqliteError>().is_some_and(SqliteError::is_busy))
}
