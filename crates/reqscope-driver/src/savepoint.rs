use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};

use crate::connection::Transact;

/// A connection whose transactions have savepoints. Its own `savepoint` method calls [`Savepoint::open`].
///
/// ```
/// use reqscope_driver::{Savepoint, Savepoints};
///
/// /// Does both or none, whatever else the transaction does.
/// async fn both<C: Savepoints>(
///     conn: &mut C,
///     first: impl AsyncFn(&mut C) -> Result<(), C::Error>,
///     second: impl AsyncFn(&mut C) -> Result<(), C::Error>,
/// ) -> Result<(), C::Error> {
///     let mut part = Savepoint::open(conn).await?;
///     first(&mut part).await?;
///     second(&mut part).await?; // an error here undoes the first
///     part.release().await
/// }
/// ```
pub trait Savepoints: Transact {
    /// Executes one of the statements `SAVEPOINT`, `RELEASE SAVEPOINT` and `ROLLBACK TO SAVEPOINT`, with the name.
    ///
    /// Each operation of the connection, this one and the COMMIT too, first undoes the savepoints that were dropped
    /// ([`SavepointStack::to_undo`]).
    ///
    /// # Errors
    ///
    /// If there is no open transaction, or the database refuses.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection must know that it was cut.
    fn run_savepoint(&mut self, statement: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Returns the savepoints of the open transaction, which the connection [clears](SavepointStack::clear) when it begins
    /// one.
    fn savepoints(&mut self) -> &mut SavepointStack;
}

/// The savepoints of one transaction.
///
/// ```
/// use reqscope_driver::SavepointStack;
///
/// let mut savepoints = SavepointStack::default();
/// assert_eq!(savepoints.to_undo(), None); // none was dropped
/// savepoints.clear();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SavepointStack {
    /// How many are open.
    open: u32,
    /// The outermost one that was dropped.
    undo: Option<u32>,
}

impl SavepointStack {
    /// Forgets all savepoints, with their transaction.
    pub fn clear(&mut self) {
        *self = SavepointStack::default();
    }

    /// Returns the statement that undoes the savepoints that were dropped, if there is one. Call
    /// [`undone`](Self::undone) when it has succeeded.
    pub fn to_undo(&self) -> Option<String> {
        // Rolling back to the outermost one undoes them all.
        self.undo.map(|number| format!("ROLLBACK TO SAVEPOINT {}", name(number)))
    }

    /// Forgets the savepoints that were dropped, because they were undone.
    pub fn undone(&mut self) {
        self.undo = None;
    }
}

fn name(number: u32) -> String {
    format!("reqscope_{number}")
}

/// A transaction within a transaction. It derefs to the connection, on which another savepoint may be opened.
///
/// A savepoint that is dropped without [`release`](Self::release) is rolled back before the next operation on the
/// connection, so a panic, an early `?` or a cancellation undoes it.
///
/// ```
/// use reqscope_driver::{Savepoint, Savepoints};
///
/// /// Does both or none, whatever else the transaction does.
/// async fn both<C: Savepoints>(
///     conn: &mut C,
///     first: impl AsyncFn(&mut C) -> Result<(), C::Error>,
///     second: impl AsyncFn(&mut C) -> Result<(), C::Error>,
/// ) -> Result<(), C::Error> {
///     let mut part = Savepoint::open(conn).await?;
///     first(&mut part).await?;
///     second(&mut part).await?; // an error here undoes the first
///     part.release().await
/// }
/// ```
#[must_use = "a savepoint that is dropped is undone"]
pub struct Savepoint<'conn, C: Savepoints> {
    conn: &'conn mut C,
    number: u32,
    is_over: bool,
}

impl<'conn, C: Savepoints> Savepoint<'conn, C> {
    /// Opens a savepoint in the open transaction of a connection.
    ///
    /// # Errors
    ///
    /// Returns the error of the statement.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, an operation of the connection was cut.
    pub async fn open(conn: &'conn mut C) -> Result<Self, C::Error> {
        let number = conn.savepoints().open;
        conn.run_savepoint(&format!("SAVEPOINT {}", name(number))).await?;
        conn.savepoints().open = number + 1;
        Ok(Savepoint { conn, number, is_over: false })
    }

    /// Keeps the changes. They take effect when the outer transaction is committed.
    ///
    /// # Errors
    ///
    /// Returns the error of the statement; nothing is kept then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, an operation of the connection was cut, and nothing of its transaction will be
    /// committed.
    pub async fn release(self) -> Result<(), C::Error> {
        self.end("RELEASE SAVEPOINT").await
    }

    /// Undoes the changes since the savepoint was opened, and nothing else. Locks that were taken since are kept.
    ///
    /// # Errors
    ///
    /// Returns the error of the statement, also if the database has rolled back the whole transaction.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, an operation of the connection was cut, and nothing of its transaction will be
    /// committed.
    pub async fn rollback(self) -> Result<(), C::Error> {
        self.end("ROLLBACK TO SAVEPOINT").await
    }

    async fn end(mut self, statement: &str) -> Result<(), C::Error> {
        // If this is dropped here, the operation was cut; the rollback that the drop of `self` requests never runs.
        self.conn.run_savepoint(&format!("{statement} {}", name(self.number))).await?;
        self.is_over = true;
        Ok(())
    }
}

impl<C: Savepoints> Deref for Savepoint<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.conn
    }
}

impl<C: Savepoints> DerefMut for Savepoint<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        self.conn
    }
}

impl<C: Savepoints> Drop for Savepoint<'_, C> {
    fn drop(&mut self) {
        let savepoints = self.conn.savepoints();
        savepoints.open = self.number;
        if !self.is_over {
            savepoints.undo = Some(savepoints.undo.map_or(self.number, |undo| undo.min(self.number)));
        }
    }
}

impl<C: Savepoints + fmt::Debug> fmt::Debug for Savepoint<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Savepoint").field("number", &self.number).field("conn", &self.conn).finish()
    }
}
