use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn, Error};
use reqscope::Health;

use crate::MySqlError;
use crate::connect::Connected;
use crate::control::ControlConnection;
use crate::server::ROLE;
use crate::session::{Activity, Session, TransactionState};
use crate::settings::HOUSEKEEPING_TIMEOUT;

/// A connection to MySQL or MariaDB: the handle of [`MySql`](crate::MySql).
///
/// It implements the driver's [`Queryable`], so it is queried by the calls that you know. In between it knows whether an
/// operation was cut in the middle, because its future was dropped or its deadline passed. The answer of such an operation
/// is still on its way, and whoever asked next would get it for his own: the driver would hand it to him, and every answer
/// after it to the wrong question (its `ping` and `reset` only move the fault by one). So such a connection refuses all
/// that comes, is [`Dead`](Health::Dead) to [`probe`](reqscope::Resource::probe), and on its release the server is told to
/// stop what still runs. There is no way around that to the driver's [`Conn`], which is why this type does not deref to it.
///
/// Rows that are not read to their end are no harm: the driver reads the rest before it sends anything else.
///
/// The driver's other way to say the same, its `Query` trait (`"SELECT 1".first(conn)`), takes the driver's own connections
/// only.
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
/// The driver's connection cannot be had:
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
    /// The role that it was given at first.
    role: Option<String>,
    /// The operation timeout that it was made with, and has again for its next user.
    operation_timeout: Option<Duration>,
}

impl MySqlConn {
    pub(crate) fn new(
        connected: Connected,
        control: Arc<ControlConnection>,
        operation_timeout: Option<Duration>,
    ) -> Self {
        MySqlConn {
            conn: connected.conn,
            session: Session::new(operation_timeout),
            id: connected.info.id,
            control,
            role: connected.info.role,
            operation_timeout,
        }
    }

    /// The number of this connection on its server, as `SHOW PROCESSLIST` has it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The server's version, as the driver has understood it.
    pub fn server_version(&self) -> (u16, u16, u16) {
        self.conn.server_version()
    }

    /// How many rows the last statement changed; 0 after an error.
    pub fn affected_rows(&self) -> u64 {
        self.conn.affected_rows()
    }

    /// The number that the last INSERT gave to its row, if it gave one.
    pub fn last_insert_id(&self) -> Option<u64> {
        self.conn.last_insert_id()
    }

    /// How many warnings the last statement left, for `SHOW WARNINGS`.
    pub fn warnings(&self) -> u16 {
        self.conn.get_warnings()
    }

    /// What the server said about the last statement: `Rows matched: 1  Changed: 1  Warnings: 0`.
    pub fn info(&self) -> Cow<'_, str> {
        self.conn.info()
    }

    /// Gives each operation that follows another time than the
    /// [builder's](crate::MySqlBuilder::operation_timeout): more for a report, less for a health check, `None` for as long as
    /// it takes. A reset gives the next user the builder's again, so in a pool without one it stays.
    pub fn set_operation_timeout(&mut self, timeout: impl Into<Option<Duration>>) {
        self.session.operation_timeout = timeout.into();
    }

    /// Whoever uses it next has the builder's again.
    pub(crate) fn restore_operation_timeout(&mut self) {
        self.session.operation_timeout = self.operation_timeout;
    }

    /// Nothing is in flight and nothing was cut.
    pub(crate) fn is_usable(&self) -> bool {
        self.session.check_usable(&self.conn).is_ok()
    }

    pub(crate) fn health(&self) -> Health {
        match self.session.activity {
            _ if !self.is_usable() || self.session.is_evicted => Health::Dead,
            // The rest has to be read first, and nobody knows how much that is.
            Activity::Rows => Health::Unknown,
            _ => Health::Ready,
        }
    }

    /// What each operation begins with: is the connection to be trusted, and is a transaction that somebody holds still
    /// open? That costs a round trip where the last answer did not say, which is after an error, and after rows that may be
    /// left to read.
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
        if let Some(savepoint) = session.undo {
            let undo = format!("ROLLBACK TO SAVEPOINT reqscope_{savepoint}");
            session.run(Activity::Idle, conn.query_drop(undo)).await?;
            session.read_transaction_state(conn);
            session.undo = None;
        }
        Ok(())
    }

    /// One statement of our own, as text.
    pub(crate) async fn execute(&mut self, statement: &str) -> Result<(), MySqlError> {
        Ok(self.query_drop(statement).await?)
    }

    /// Makes it new for its next user: no transaction, no lock, no temporary table, no variable of the last one.
    ///
    /// A server without COM_RESET_CONNECTION (before MySQL 5.7.3 and MariaDB 10.2.4) has the user changed to the same user,
    /// an authentication, and as thorough.
    pub(crate) async fn reset(&mut self) -> Result<(), MySqlError> {
        let MySqlConn { conn, session, role, .. } = self;
        session.check_usable(conn)?;
        let may_outlive_reset = session.may_outlive_reset;
        let reset = async {
            if may_outlive_reset {
                restore_database(conn, role.as_deref()).await?;
            }
            if !conn.reset().await? {
                conn.change_user(ChangeUserOpts::default()).await?;
            }
            Ok(())
        };
        *session = Session::new(self.operation_timeout);
        // Dropped here, or late, it stays busy, and is stopped and closed.
        let outcome = session.run(Activity::Idle, reset).await;
        session.may_outlive_reset = outcome.is_err();
        Ok(outcome?)
    }

    /// Closes it. What still runs there is stopped first.
    pub(crate) async fn close(self) -> Result<(), MySqlError> {
        let MySqlConn { conn, session, id, control, .. } = self;
        if session.check_usable(&conn).is_ok() && session.activity == Activity::Idle {
            // Late, or dropped here, the driver closes the socket without a goodbye.
            return match tokio::time::timeout(HOUSEKEEPING_TIMEOUT, conn.disconnect()).await {
                Ok(outcome) => Ok(outcome?),
                Err(_late) => Err(MySqlError::TimedOut { what: "saying goodbye", after: HOUSEKEEPING_TIMEOUT }),
            };
        }
        // Dropped here: the driver closes the socket.
        let outcome = control.kill(id, conn.is_disconnected()).await;
        drop(conn);
        outcome
    }
}

/// A reset leaves the session in whatever database it is, and with whatever role.
async fn restore_database(conn: &mut Conn, role: Option<&str>) -> Result<(), Error> {
    let asked = format!("SELECT {ROLE}");
    let has: Option<Option<String>> = match conn.opts().db_name() {
        Some(home) => {
            let home = home.replace('`', "``");
            conn.query_first(format!("{asked}; USE `{home}`")).await?
        }
        None => {
            // Out of a database into none leads no statement.
            conn.change_user(ChangeUserOpts::default()).await?;
            conn.query_first(asked).await?
        }
    };
    // MariaDB keeps it even when the user is changed.
    if has.flatten().as_deref() == role { Ok(()) } else { Err(MySqlError::Role.into_driver()) }
}

/// A handle that is a connection, or has one inside as a pooled one does, is what a
/// [`Transaction`](crate::Transaction) goes around.
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

/// Without the driver's own, which shows the password.
impl fmt::Debug for MySqlConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlConn").field("id", &self.id).field("health", &self.health()).finish_non_exhaustive()
    }
}
