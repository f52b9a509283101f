use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, mem};

use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn, Error};
use reqscope::Health;
use tokio::time::{Instant, timeout};

use crate::MySqlError;
use crate::connect::Connected;
use crate::control::{ControlConnection, Target};
use crate::fault::Fault;
use crate::server::ROLE;
use crate::session::{Activity, Session, TransactionState};
use crate::settings::{HOUSEKEEPING_TIMEOUT, Settings};

/// For how long a new connection is used although its server refuses writes: one that is replaced at each refusal makes
/// as many connections as requests fail.
const YOUNG: Duration = Duration::from_secs(1);

/// A connection to MySQL or MariaDB: the handle of [`MySql`](crate::MySql).
///
/// It implements the driver's [`Queryable`], so it is used like the driver's own connection. It also records whether an
/// operation was cut, because its future was dropped or its deadline passed. The answer to such an operation is still
/// on its way. The driver would return it to the next query, and from then on every answer to the wrong query (the
/// driver's `ping` and `reset` only shift the error by one). Therefore such a connection refuses every further
/// operation, [`probe`](reqscope::Resource::probe) returns [`Dead`](Health::Dead) for it, and its release stops the
/// statement on the server. Access to the driver's [`Conn`] would bypass this, so this type does not deref to it.
///
/// Unread rows do no harm: the driver reads the rest before it sends anything else.
///
/// The driver's `Query` trait (`"SELECT 1".first(conn)`) accepts only the driver's own connections.
///
/// ```no_run
/// use reqscope_mysql::mysql_async::prelude::Queryable;
/// use reqscope_mysql::{MySqlConn, MySqlError};
///
/// async fn rename(conn: &mut MySqlConn, id: u64, name: &str) -> Result<u64, MySqlError> {
///     conn.exec_drop("UPDATE users SET name = ? WHERE id = ?", (name, id)).await?;
///     Ok(conn.affected_rows())
/// }
/// ```
///
/// The driver's connection is not accessible:
///
/// ```compile_fail
/// use reqscope_mysql::{MySqlConn, mysql_async::Conn};
///
/// fn unmarked(conn: &mut MySqlConn) -> &mut Conn {
///     conn
/// }
/// ```
pub struct MySqlConn {
    pub(crate) conn: Conn,
    pub(crate) session: Session,
    id: u64,
    control: Arc<ControlConnection>,
    /// The role that the session started with.
    role: Option<String>,
    /// The operation timeout of the builder, which is restored for each new user.
    operation_timeout: Option<Duration>,
}

impl MySqlConn {
    /// Creates the handle from a new connection.
    pub(crate) fn new(connected: Connected, control: Arc<ControlConnection>, settings: &Settings) -> Self {
        let operation_timeout = settings.operation_timeout;
        // A server that had to be writable was so a moment ago.
        let young = if settings.require_writable { Duration::ZERO } else { YOUNG };
        MySqlConn {
            conn: connected.conn,
            session: Session::new(Instant::now() + young, operation_timeout),
            id: connected.info.id,
            control,
            role: connected.info.role,
            operation_timeout,
        }
    }

    /// Returns the id of this connection on its server, as shown by `SHOW PROCESSLIST`.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the server's version, as parsed by the driver.
    pub fn server_version(&self) -> (u16, u16, u16) {
        self.conn.server_version()
    }

    /// Returns how many rows the last statement changed; 0 after an error.
    pub fn affected_rows(&self) -> u64 {
        self.conn.affected_rows()
    }

    /// Returns the `AUTO_INCREMENT` id of the row that the last INSERT created, if it has one.
    pub fn last_insert_id(&self) -> Option<u64> {
        self.conn.last_insert_id()
    }

    /// Returns how many warnings the last statement left, for `SHOW WARNINGS`.
    pub fn warnings(&self) -> u16 {
        self.conn.get_warnings()
    }

    /// Returns the server's summary of the last statement, such as `Rows matched: 1  Changed: 1  Warnings: 0`.
    pub fn info(&self) -> Cow<'_, str> {
        self.conn.info()
    }

    /// Sets the timeout of the operations that follow: longer for a report, shorter for a health check; `None` disables
    /// the limit. Defaults to the [builder's](crate::MySqlBuilder::operation_timeout), because that suits most
    /// statements. A reset restores the builder's timeout for the next user; in a pool without resets, the change
    /// stays.
    pub fn set_operation_timeout(&mut self, timeout: impl Into<Option<Duration>>) {
        self.session.operation_timeout = timeout.into();
    }

    /// Restores the builder's operation timeout for the next user.
    pub(crate) fn restore_operation_timeout(&mut self) {
        self.session.operation_timeout = self.operation_timeout;
    }

    /// Returns whether the connection is open, with no operation in flight and none cut.
    pub(crate) fn is_usable(&self) -> bool {
        self.session.check_usable(&self.conn).is_ok()
    }

    /// Returns what `probe` reports.
    pub(crate) fn health(&self) -> Health {
        match self.session.activity {
            _ if !self.is_usable() || self.session.is_evicted => Health::Dead,
            // The remaining rows have to be read first, and their number is unknown. Until then the server keeps their
            // statement and its locks.
            Activity::Rows => Health::Dirty,
            _ => Health::Ready,
        }
    }

    /// Returns how the server has failed this connection. A server that only refuses writes has failed it if
    /// `require_writable`.
    pub(crate) fn fault(&self, require_writable: bool) -> Option<MySqlError> {
        let fault = self.session.fault.as_ref().filter(|fault| require_writable || !fault.is_of_writes_only());
        fault.map(Fault::to_error)
    }

    /// Prepares the connection for an operation: checks that it is usable and that the transaction is still open, and
    /// rolls back to a dropped savepoint.
    ///
    /// The check costs a round trip if the last answer did not include the state of the transaction, which is the case
    /// after an error, and after rows that may be left to read.
    pub(crate) async fn ready(&mut self) -> Result<(), Error> {
        let MySqlConn { conn, session, .. } = self;
        session.check_usable(conn).map_err(MySqlError::into_driver)?;
        if session.transaction == TransactionState::Unknown {
            session.run(Activity::Idle, conn.ping()).await?;
            session.read_transaction_state(conn);
        }
        if session.transaction == TransactionState::Ended {
            return Err(MySqlError::NotOpen.into_driver());
        }
        if let Some(undo) = session.savepoints.to_undo() {
            session.run(Activity::Idle, conn.query_drop(undo)).await?;
            session.read_transaction_state(conn);
            session.savepoints.undone();
        }
        Ok(())
    }

    /// Reads the rows that are left, so that the next answer is that of the next statement. What is left may be an error
    /// of the server, which the driver would otherwise return instead of sending that statement.
    pub(crate) async fn read_rest(&mut self) -> Result<(), Error> {
        let MySqlConn { conn, session, .. } = self;
        if session.activity != Activity::Rows {
            return Ok(());
        }
        let Err(error) = session.run(Activity::Idle, conn.ping()).await else { return Ok(()) };
        let error = MySqlError::from(error);
        if error.server().is_some() { Ok(()) } else { Err(error.into_driver()) }
    }

    /// Executes a statement of this crate, as text.
    pub(crate) async fn execute(&mut self, statement: &str) -> Result<(), MySqlError> {
        Ok(self.query_drop(statement).await?)
    }

    /// Resets the session for the next user: no transaction, lock, temporary table or variable of the last user
    /// remains.
    ///
    /// On a server without COM_RESET_CONNECTION (before MySQL 5.7.3 and MariaDB 10.2.4), changes the user to the same
    /// user, which costs an authentication and is as thorough.
    pub(crate) async fn reset(&mut self) -> Result<(), MySqlError> {
        self.session.check_usable(&self.conn)?;
        self.restore_operation_timeout();
        self.read_rest().await?;
        let MySqlConn { conn, session, role, .. } = self;
        let may_outlive_reset = session.may_outlive_reset;
        let fault = session.fault.take();
        let reset = async {
            if may_outlive_reset {
                restore_database(conn, role.as_deref()).await?;
            }
            if !conn.reset().await? {
                conn.change_user(ChangeUserOpts::default()).await?;
            }
            Ok(())
        };
        let flight = mem::take(&mut session.flight);
        *session = Session { flight, ..Session::new(session.evictable, self.operation_timeout) };
        // If this is dropped here, or times out, the reset stays in flight, and the release stops it and closes the
        // connection.
        let outcome = session.run(Activity::Idle, reset).await;
        session.may_outlive_reset = outcome.is_err();
        if outcome.is_err() {
            // A connection that was lost while it was idle says nothing: servers and firewalls close these.
            let refused = session.fault.take().filter(|fault| !fault.is_lost());
            session.fault = refused.or(fault);
        }
        Ok(outcome?)
    }

    /// Closes the connection. A statement that still runs is stopped first.
    pub(crate) async fn close(self) -> Result<(), MySqlError> {
        let MySqlConn { mut conn, session, id, control, .. } = self;
        if session.check_usable(&conn).is_ok() && session.activity == Activity::Idle {
            // If this times out or is dropped here, the driver closes the socket without COM_QUIT.
            return match timeout(HOUSEKEEPING_TIMEOUT, conn.disconnect()).await {
                Ok(outcome) => Ok(outcome?),
                Err(_late) => Err(MySqlError::TimedOut { what: "disconnecting", after: HOUSEKEEPING_TIMEOUT }),
            };
        }
        // If this is dropped here, the driver closes the socket.
        match control.kill(id, conn.is_disconnected(), Target::Unknown).await {
            // To another server, or to this one after a restart, with which the statement has ended.
            Err(MySqlError::NotStopped(cause)) if matches!(*cause, MySqlError::Elsewhere) => {
                if is_lost(&mut conn).await { Ok(()) } else { control.kill(id, false, Target::Alive).await }
            }
            outcome => outcome,
        }
    }
}

/// Returns whether the server has ended a connection that is not used any more.
async fn is_lost(conn: &mut Conn) -> bool {
    // Whatever it reads: the connection is closed next. One whose statement runs does not answer. The driver's
    // `is_disconnected` is also set after an operation was cut.
    matches!(timeout(HOUSEKEEPING_TIMEOUT / 4, conn.ping()).await, Ok(Err(Error::Io(_))))
}

/// Switches the session back to the database of its options, which a reset does not do.
///
/// # Errors
///
/// Returns [`MySqlError::Role`] if the session no longer has the role that it started with.
async fn restore_database(conn: &mut Conn, role: Option<&str>) -> Result<(), Error> {
    let asked = format!("SELECT {ROLE}");
    let has: Option<Option<String>> = match conn.opts().db_name() {
        Some(home) => {
            let home = home.replace('`', "``");
            conn.query_first(format!("{asked}; USE `{home}`")).await?
        }
        None => {
            // No statement deselects a database.
            conn.change_user(ChangeUserOpts::default()).await?;
            conn.query_first(asked).await?
        }
    };
    // MariaDB keeps the role even when the user is changed.
    if has.flatten().as_deref() == role { Ok(()) } else { Err(MySqlError::Role.into_driver()) }
}

/// A [`Transaction`](crate::Transaction) wraps any resource whose handle is a connection or, like a pooled handle,
/// contains one.
impl AsRef<MySqlConn> for MySqlConn {
    fn as_ref(&self) -> &MySqlConn {
        self
    }
}

impl AsMut<MySqlConn> for MySqlConn {
    fn as_mut(&mut self) -> &mut MySqlConn {
        self
    }
}

/// Does not use the driver's `Debug`, which shows the password.
impl fmt::Debug for MySqlConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlConn").field("id", &self.id).field("health", &self.health()).finish_non_exhaustive()
    }
}
