use std::fmt;

use mysql_async::Opts;
use reqscope::error::Stage;
use reqscope::{Error, Exit, Health, Reset, Resource};

use crate::builder::MySqlBuilder;
use crate::connect::connect;
use crate::control::ControlConnections;
use crate::settings::Settings;
use crate::{MySqlConn, MySqlError};

/// Connections to one MySQL or MariaDB server.
///
/// Each acquisition connects and each release disconnects: 0.2 ms on one machine, several round trips over a network. A
/// [`Pool`](reqscope::Pool) around the resource keeps connections for the next request.
///
/// # A clean session for each user
///
/// A pool resets each connection (`COM_RESET_CONNECTION`, 20 us on one machine) before its next user gets it
/// ([`Reset::Always`]), because a `BEGIN`, a `SET`, a temporary table or a lock that was sent as text cannot be
/// detected afterwards. The reset runs after the return, so no request waits for it unless all connections are in use.
/// Statements have to be prepared again after it. If no user leaves anything behind, `.reset(Reset::AfterDoubt)` on the
/// [builder](reqscope::pool::PoolBuilder::reset) of the pool saves the round trip.
///
/// # The control connection
///
/// In addition to the connections that are lent, one control connection to each server is kept, through which cut
/// statements are stopped (`KILL`). It is opened before the first handle is lent, so that it works even when
/// `max_connections` is reached; include it when you plan that limit. A MySQL user needs no privilege to kill its own
/// connections.
///
/// # Examples
///
/// ```no_run
/// use reqscope::{Pool, Scopes};
/// use reqscope_mysql::mysql_async::prelude::Queryable;
/// use reqscope_mysql::{MySql, Transaction};
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Arc::new(Pool::builder().max_size(10).build(MySql::new("mysql://app:secret@db.internal/shop")?));
/// let transactions = Arc::new(Transaction::new(pool));
///
/// let scopes = Scopes::new();
/// let scope = scopes.open();
/// let mut tx = scope.lazy(&transactions).get().await?; // checkout and START TRANSACTION
/// tx.exec_drop("UPDATE stock SET left_over = left_over - 1 WHERE item = ?", ("chair",)).await?;
/// drop(tx);
/// scope.close(reqscope::Exit::Completed).await?; // COMMIT
/// # Ok(())
/// # }
/// ```
pub struct MySql {
    settings: Settings,
    control_connections: ControlConnections,
}

impl MySql {
    /// Creates a resource from a URL, with the defaults of [`MySqlBuilder`]. Does no I/O.
    ///
    /// The URL has the form `mysql://user:password@host:3306/database?parameter=value`. User and password are
    /// percent-encoded (`@` is `%40`, `/` is `%2F`); the parameters are [those of the driver](mysql_async::Opts).
    ///
    /// # Errors
    ///
    /// Returns [`MySqlError::Url`], which says what is wrong without repeating any part of the URL.
    pub fn new(url: &str) -> Result<Self, MySqlError> {
        Ok(Self::builder(url)?.build())
    }

    /// Creates a builder, to set options on top of a URL.
    ///
    /// # Errors
    ///
    /// Same as [`MySql::new`].
    pub fn builder(url: &str) -> Result<MySqlBuilder, MySqlError> {
        let opts = Opts::from_url(url).map_err(mysql_async::Error::from)?;
        Ok(MySqlBuilder::from_opts(opts))
    }

    pub(crate) fn with(settings: Settings) -> Self {
        MySql { settings, control_connections: ControlConnections::default() }
    }
}

impl Resource for MySql {
    type Handle = MySqlConn;
    type Cause = MySqlError;

    /// Connects: resolves the name, tries each address, and makes sure that statements can be stopped on that server.
    ///
    /// # Errors
    ///
    /// Returns a [permanent](Error::is_permanent) error for a wrong user, password or database, and
    /// [a timeout](Error::is_timeout) after the [connect timeout](MySqlBuilder::connect_timeout).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the half-made connection is closed.
    async fn acquire(&self) -> Result<MySqlConn, Error<MySqlError>> {
        let connected = connect(&self.settings).await.map_err(|cause| cause.at(Stage::Acquiring))?;
        // If this is dropped here, the driver closes the connection.
        let control = self.control_connections.of(&connected).await.map_err(|cause| cause.at(Stage::Acquiring))?;
        Ok(MySqlConn::new(connected, control, &self.settings))
    }

    /// Resets the connection: reads the rows that are left, and makes the server reset the session. A connection with a
    /// cut operation cannot be validated.
    ///
    /// # Errors
    ///
    /// Returns [`InDoubt`](MySqlError::InDoubt) for a connection with a cut operation, or an error if the server does
    /// not answer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt.
    async fn validate(&self, conn: &mut MySqlConn) -> Result<(), Error<MySqlError>> {
        conn.reset().await.map_err(|cause| cause.at(Stage::Validating))
    }

    /// Disconnects. If an operation was cut or rows are left to read, first stops the statement on the server and waits
    /// until it has ended.
    ///
    /// # Errors
    ///
    /// Returns [`NotStopped`](MySqlError::NotStopped) if the server has not been reached, or has not ended the
    /// connection, within three seconds.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the socket is closed; the server may not have received the KILL.
    async fn release(&self, conn: MySqlConn, _exit: Exit) -> Result<(), Error<MySqlError>> {
        // If this is dropped here, the driver closes the socket.
        conn.close().await.map_err(|cause| cause.at(Stage::Releasing))
    }

    /// Returns `Dead` for a connection that is closed or has a cut operation, or whose server refuses writes, and
    /// `Dirty` for one with rows left to read.
    fn probe(&self, conn: &MySqlConn) -> Health {
        conn.health()
    }

    /// Returns `Always`: what a user leaves in its session cannot be detected.
    fn reset(&self) -> Reset {
        Reset::Always
    }

    /// Returns an unavailable error if the server closed the connection in an operation, shuts down (1053), or has lost
    /// its cluster (1047). With [`require_writable`](crate::MySqlBuilder::require_writable) also if it refuses writes.
    /// A connection that was cut by its user, or lost while it was idle, has no fault.
    fn fault(&self, conn: &MySqlConn) -> Option<Error<MySqlError>> {
        let cause = conn.fault(self.settings.require_writable)?;
        Some(Error::unavailable().with_cause(cause))
    }
}

/// Shows the server's address, without the password.
impl fmt::Debug for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.describe(&mut f.debug_struct("MySql"))
    }
}
