use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::session::TransactionState;
use crate::{MySqlConn, MySqlError};

impl MySqlConn {
    /// Opens a transaction within the transaction: the changes made through the [`Savepoint`] can be undone without the
    /// rest.
    ///
    /// # Errors
    ///
    /// Returns [`NotOpen`](MySqlError::NotOpen) outside a [`Transaction`](crate::Transaction), or the error of the
    /// statement.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt, as after any cut operation.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use reqscope_mysql::mysql_async::prelude::Queryable;
    /// use reqscope_mysql::{MySqlConn, MySqlError};
    ///
    /// /// Books the seats that are free.
    /// async fn book(tx: &mut MySqlConn, seats: &[u32]) -> Result<u32, MySqlError> {
    ///     let mut booked = 0;
    ///     for seat in seats {
    ///         let mut attempt = tx.savepoint().await?;
    ///         match attempt.exec_drop("INSERT INTO bookings (seat) VALUES (?)", (seat,)).await {
    ///             Ok(()) => {
    ///                 attempt.release().await?;
    ///                 booked += 1;
    ///             }
    ///             Err(_taken) => attempt.rollback().await?,
    ///         }
    ///     }
    ///     Ok(booked)
    /// }
    /// ```
    pub async fn savepoint(&mut self) -> Result<Savepoint<'_>, MySqlError> {
        if self.session.transaction == TransactionState::None {
            return Err(MySqlError::NotOpen);
        }
        let number = self.session.savepoints;
        self.execute(&format!("SAVEPOINT reqscope_{number}")).await?;
        self.session.savepoints = number + 1;
        Ok(Savepoint { conn: self, number, is_over: false })
    }
}

/// A transaction within a transaction. It derefs to the connection, on which another savepoint may be opened.
///
/// A savepoint that is dropped without [`release`](Self::release) is rolled back before the next operation on the
/// connection, so a panic, an early `?` or a cancellation undoes it.
///
/// ```no_run
/// use reqscope_mysql::mysql_async::prelude::Queryable;
/// use reqscope_mysql::{MySqlConn, MySqlError};
///
/// /// Both or none, whatever else the transaction does.
/// async fn move_guest(tx: &mut MySqlConn, from: u32, to: u32) -> Result<(), MySqlError> {
///     let mut both = tx.savepoint().await?;
///     both.exec_drop("DELETE FROM bookings WHERE seat = ?", (from,)).await?;
///     both.exec_drop("INSERT INTO bookings (seat) VALUES (?)", (to,)).await?; // an error here undoes the DELETE
///     both.release().await
/// }
/// ```
#[must_use = "a savepoint that is dropped is undone"]
pub struct Savepoint<'conn> {
    conn: &'conn mut MySqlConn,
    number: u32,
    is_over: bool,
}

impl Savepoint<'_> {
    /// Keeps the changes. They take effect when the outer transaction is committed.
    ///
    /// # Errors
    ///
    /// Returns the error of the statement; nothing is kept then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt, and nothing of its transaction will be committed.
    pub async fn release(self) -> Result<(), MySqlError> {
        self.end("RELEASE SAVEPOINT").await
    }

    /// Undoes the changes since the savepoint was opened, and nothing else. Locks that were taken since are kept.
    ///
    /// # Errors
    ///
    /// Returns the error of the statement, or [`NotOpen`](MySqlError::NotOpen) if the server has rolled back the whole
    /// transaction.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt, and nothing of its transaction will be committed.
    pub async fn rollback(self) -> Result<(), MySqlError> {
        self.end("ROLLBACK TO SAVEPOINT").await
    }

    async fn end(mut self, statement: &str) -> Result<(), MySqlError> {
        // If this is dropped here, the connection is in doubt; the rollback that the drop of `self` requests never
        // runs, which is harmless.
        self.conn.execute(&format!("{statement} reqscope_{}", self.number)).await?;
        self.is_over = true;
        Ok(())
    }
}

impl Deref for Savepoint<'_> {
    type Target = MySqlConn;

    fn deref(&self) -> &MySqlConn {
        self.conn
    }
}

impl DerefMut for Savepoint<'_> {
    fn deref_mut(&mut self) -> &mut MySqlConn {
        self.conn
    }
}

impl Drop for Savepoint<'_> {
    fn drop(&mut self) {
        let session = &mut self.conn.session;
        session.savepoints = self.number;
        if !self.is_over {
            // Rolling back to the outermost of several dropped savepoints undoes them all.
            session.undo = Some(session.undo.map_or(self.number, |undo| undo.min(self.number)));
        }
    }
}

impl fmt::Debug for Savepoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Savepoint").field("number", &self.number).field("conn", &self.conn).finish()
    }
}
