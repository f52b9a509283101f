//! Which errors say that another one was in the way.
use std::error::Error;

use anyhow::Chain;
#[cfg(feature = "mysql")]
use reqscope_mysql::MySqlError;
use reqscope_sqlite::SqliteError;

/// Did the database refuse, somewhere down this chain, because of another transaction?
pub(crate) fn is_busy(mut chain: Chain<'_>) -> bool {
    chain.any(|error| error.downcast_ref::<SqliteError>().is_some_and(SqliteError::is_busy) || has_lost(error))
}

/// A deadlock, or a lock that was waited for too long.
#[cfg(feature = "mysql")]
fn has_lost(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<MySqlError>().is_some_and(MySqlError::is_try_again)
}

#[cfg(not(feature = "mysql"))]
fn has_lost(_error: &(dyn Error + 'static)) -> bool {
    false
}
