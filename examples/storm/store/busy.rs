//! Errors that are caused by another transaction.
use std::error::Error;

use anyhow::Chain;
#[cfg(feature = "mysql")]
use reqscope_mysql::MySqlError;
use reqscope_sqlite::SqliteError;

/// Returns whether a source in this chain says that the database refused because of another transaction.
pub(crate) fn is_busy(mut chain: Chain<'_>) -> bool {
    chain.any(|error| error.downcast_ref::<SqliteError>().is_some_and(SqliteError::is_busy) || is_deadlock(error))
}

/// Returns whether it is a deadlock, or a lock that was not granted in time.
#[cfg(feature = "mysql")]
fn is_deadlock(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<MySqlError>().is_some_and(MySqlError::is_try_again)
}

#[cfg(not(feature = "mysql"))]
fn is_deadlock(_error: &(dyn Error + 'static)) -> bool {
    false
}
