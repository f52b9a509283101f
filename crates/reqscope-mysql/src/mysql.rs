use std::fmt;

use reqscope::error::Stage;
use reqscope::pool::{PoolBuilder, Reset};
use reqscope::{Error, Exit, Health, Pool, Resource};

use crate::builder::MySqlBuilder;
use crate::connect::connect;
use crate::control::ControlConnections;
use crate::settings::Settings;
use crate::{MySqlConn, MySqlError};

/// Connections to one MySQL or MariaDB server.
///
/// Each acquisition connects, and each release says goodbye: 0.2 ms on one machine, some round trips elsewhere. A
/// [`Pool`] around it keeps connections for the next request; take it from [`pool_builder`](MySql::pool_builder), which
/// makes each connection new for its next user.
///
/// # One connection more
///
/// Beside those that are lent there is one to each server, through which cut statements are stopped (`KILL`). It is opened
/// before the first handle is lent, so that it works when `max_connections` is reached; count it in. The user needs no
/// privilege to stop his own connections.
///
/// # Examples
///
/// ```no_run
/// use reqscope::Scopes;
/// use reqscope_mysql::mysql_async::prelude::Queryable;
/// use reqscope_mysql::{MySql, Transaction};
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Arc::new(MySql::pool_builder().max_size(10).build(MySql::new("mysql://app:secret@db.internal/shop")?));
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
    /// The server that this URL leads to, with the defaults of [`MySqlBuilder`]. Does no I/O.
    ///
    /// `mysql://user:password@host:3306/database?parameter=value`; user and password percent-encoded (`@` is `%40`, `/` is
    /// `%2F`), the [parameters](mysql_async::Opts) the driver's.
    ///
    /// # Errors
    ///
    /// [`MySqlError::Url`], which says what is wrong and repeats nothing of it.
    pub fn new(url: &str) -> Result<Self, MySqlError> {
        Ok(Self::builder(url)?.build())
    }

    /// To set options on top of a URL.
    ///
    /// # Errors
    ///
    /// As [`MySql::new`].
    pub fn builder(url: &str) -> Result<MySqlBuilder, MySqlError> {
        Ok(MySqlBuilder::from_opts(crate::url::read(url)?))
    }

    /// A pool as it should be for MySQL: with [`Reset::Always`].
    ///
    /// Each connection is made new (`COM_RESET_CONNECTION`, 20 us on one machine) before its next user has it, because a
    /// `BEGIN`, a `SET`, a temporary table or a lock that was sent as text leaves no sign that anybody could see. The reset
    /// comes after the return, so no request waits for it, unless all connections are in use. Statements are
    /// prepared anew after it.
    ///
    /// Of this resource, or of one that is wrapped around it.
    pub fn pool_builder<R>() -> PoolBuilder<R>
    where
        R: Resource<Handle: AsRef<MySqlConn>, Cause = MySqlError>,
    {
        Pool::builder().reset(Reset::Always)
    }

    pub(crate) fn with(settings: Settings) -> Self {
        MySql { settings, control_connections: ControlConnections::default() }
    }
}

impl Resource for MySql {
    type Handle = MySqlConn;
    type Cause = MySqlError;

    /// Connects: resolves the name, tries each address, and makes sure that statements can be stopped there.
    ///
    /// # Errors
    ///
    /// [Permanent](Error::is_permanent) for a wrong user, password or database; [a timeout](Error::is_timeout) after the
    /// [connect timeout](MySqlBuilder::connect_timeout).
    ///
    /// # Cancel safety
    ///
    /// The half-made connection is closed.
    async fn acquire(&self) -> Result<MySqlConn, Error<MySqlError>> {
        let connected = connect(&self.settings).await.map_err(|cause| cause.at(Stage::Acquiring))?;
        // Dropped here: the driver closes the connection.
        let control = self.control_connections.of(&connected).await.map_err(|cause| cause.at(Stage::Acquiring))?;
        Ok(MySqlConn::new(connected, control, self.settings.operation_timeout))
    }

    /// Makes it new: what rows are left are read, and the server resets the session. A connection with a cut operation
    /// cannot be proved by anything, and is refused.
    ///
    /// # Errors
    ///
    /// [`InDoubt`](MySqlError::InDoubt), or if the server does not answer.
    ///
    /// # Cancel safety
    ///
    /// The connection is in doubt from then on.
    async fn validate(&self, conn: &mut MySqlConn) -> Result<(), Error<MySqlError>> {
        conn.reset().await.map_err(|cause| cause.at(Stage::Validating))
    }

    /// Says goodbye; where an operation was cut, or rows are left to read, has the server stop it, and waits until it has.
    ///
    /// # Errors
    ///
    /// [`NotStopped`](MySqlError::NotStopped) if the server could not be told, or has not let go, within three seconds.
    ///
    /// # Cancel safety
    ///
    /// The socket is closed. The server may not have been told to stop.
    async fn release(&self, conn: MySqlConn, _exit: Exit) -> Result<(), Error<MySqlError>> {
        // Dropped here: the driver closes the socket.
        conn.close().await.map_err(|cause| cause.at(Stage::Releasing))
    }

    fn probe(&self, conn: &MySqlConn) -> Health {
        conn.health()
    }
}

/// Where it leads and how, without the password.
impl fmt::Debug for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.describe(&mut f.debug_struct("MySql"))
    }
}
