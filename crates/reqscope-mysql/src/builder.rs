use std::fmt;
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder};

use crate::MySql;
use crate::settings::Settings;

/// Configures a [`MySql`]: options that the driver does not have, and the driver's own through
/// [`from_opts`](Self::from_opts).
///
/// Two defaults differ from the driver's. `prefer_socket` is off, because with it the driver connects a second time,
/// over the server's socket; use [`socket`](Self::socket) instead. TCP keepalive begins after 60 s of silence, because
/// the driver sets none and firewalls forget a silent connection after some minutes. `TCP_NODELAY` is on, as in the
/// driver. An option set in a URL or in `Opts` is kept, except `prefer_socket`.
///
/// The driver asks each new connection for the server's `max_allowed_packet`, which costs a round trip, unless the
/// option is set. A value above the server's makes the server close the connection on a larger packet, and one below it
/// makes the driver refuse rows that the server allows.
///
/// ```
/// use reqscope_mysql::MySql;
/// use std::time::Duration;
///
/// let reports = MySql::builder("mysql://reports:secret@replica.internal/shop")?
///     .connect_timeout(Duration::from_secs(2))
///     .operation_timeout(Duration::from_secs(300))
///     .max_statement_time(Duration::from_secs(240))
///     .setup("SET time_zone = '+00:00'")
///     .build();
/// # drop(reports);
/// # Ok::<_, reqscope_mysql::MySqlError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct MySqlBuilder {
    settings: Settings,
    setup: Vec<String>,
}

impl MySqlBuilder {
    /// Creates a builder from the driver's own options, for settings that a URL cannot express.
    ///
    /// The pool options are not used. The `init` statements run once for each connection, and the reset after the first
    /// user undoes what they set; the `setup` statements run after each reset too.
    ///
    /// ```
    /// use reqscope_mysql::MySqlBuilder;
    /// use reqscope_mysql::mysql_async::OptsBuilder;
    ///
    /// let opts = OptsBuilder::default().ip_or_hostname("::1").user(Some("app")).stmt_cache_size(128);
    /// let mysql = MySqlBuilder::from_opts(opts).build();
    /// # drop(mysql);
    /// ```
    pub fn from_opts(opts: impl Into<Opts>) -> Self {
        MySqlBuilder { settings: Settings::new(opts.into()), setup: Vec::new() }
    }

    /// Sets how long connecting may take: resolving the name, trying all addresses, the handshake and the setup.
    /// Defaults to 5 s, because a working server is faster on any network. Each address gets an equal share of the time
    /// that is left, so an address that does not answer does not use up the time of the others.
    ///
    /// A pool adds its own [`create_timeout`](reqscope::pool::PoolBuilder::create_timeout) of 10 s around it.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Sets how long each operation may take; `None` disables the limit. Defaults to 30 s, because users do not wait
    /// longer than that for a page.
    ///
    /// The driver has no timeout at all: it waits for a frozen server, or one behind a network that drops all packets,
    /// until the kernel gives up after 15 minutes. The connection of an operation that took too long is not used again,
    /// and its statement is stopped on the server. [`set_operation_timeout`](crate::MySqlConn::set_operation_timeout)
    /// changes the limit for one user. The limit does not apply to rows that are read from a stream or a
    /// [`QueryResult`](mysql_async::QueryResult), because the driver reads them.
    pub fn operation_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.operation_timeout = timeout.into();
        self
    }

    /// Sets how long the server itself lets a statement run: `max_statement_time` in MariaDB, for all statements;
    /// `max_execution_time` in MySQL, for SELECTs. Defaults to the server's setting, because an operator may have
    /// chosen it. The precision is one millisecond.
    ///
    /// This limit works even if this process is gone. If it is shorter than
    /// [`operation_timeout`](Self::operation_timeout), a slow statement costs an error (1969, 3024) but not the
    /// connection.
    pub fn max_statement_time(self, time: Duration) -> Self {
        let (seconds, milliseconds) = (time.as_secs_f64(), time.as_millis());
        // A server skips the comments that are not for it: MariaDB has its own kind, and leaves out those of MySQL 5.7.
        self.setup(format!(
            "SET /*M! SESSION max_statement_time = {seconds:.3}, */ \
             /*!50704 SESSION max_execution_time = {milliseconds}, */ @reqscope = NULL"
        ))
    }

    /// Sets the character set of the session with `SET NAMES`, such as `latin1` or `utf8mb4 COLLATE utf8mb4_bin`.
    /// Defaults to the driver's `utf8mb4`, with the server's collation for it, because Rust's strings are UTF-8: with
    /// any other character set, text arrives as bytes.
    pub fn charset(self, charset: &str) -> Self {
        self.setup(format!("SET NAMES {charset}"))
    }

    /// Adds a statement that sets up the session. Defaults to none, because the server's settings suit most
    /// applications. The statement runs on each new connection, and again for each user of a pooled one, because a
    /// reset undoes it. Each statement costs a round trip; a text may contain several, separated by `;`.
    pub fn setup(mut self, statement: impl Into<String>) -> Self {
        self.setup.push(statement.into());
        self
    }

    /// Sets whether to skip a read-only server in favour of the next address of the same name. Defaults to `false`,
    /// because reading from a replica is legitimate.
    ///
    /// Enable it for a name that resolves to a primary and its replicas, or that moves with the primary. With either
    /// setting, a connection whose server turns out to be read-only later (error 1290, 1836, or Galera's 1047) is not
    /// used again. Without it, one that is younger than a second is: the next one would lead to the same server.
    pub fn require_writable(mut self, require: bool) -> Self {
        self.settings.require_writable = require;
        self
    }

    /// Sets the path of the server's Unix socket, to connect over it instead of TCP. Defaults to TCP, because a URL
    /// names a host.
    pub fn socket(self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.change(|opts| opts.socket(Some(path)))
    }

    /// Enables TLS with verified certificates. Off by default, because a Unix socket or a private network needs none.
    ///
    /// The built-in roots are Mozilla's; for a private authority use
    /// [`with_root_certs`](mysql_async::SslOpts::with_root_certs). Connecting to a server without TLS fails; there is
    /// no fallback to plain text.
    ///
    /// ```no_run
    /// use reqscope_mysql::MySql;
    /// use reqscope_mysql::mysql_async::SslOpts;
    /// use std::path::Path;
    ///
    /// let authority = Path::new("/etc/shop/authority.pem");
    /// let mysql = MySql::builder("mysql://app:secret@db.internal/shop")?
    ///     .tls(SslOpts::default().with_root_certs(vec![authority.into()]))
    ///     .build();
    /// # Ok::<_, reqscope_mysql::MySqlError>(())
    /// ```
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(self, tls: mysql_async::SslOpts) -> Self {
        self.change(|opts| opts.ssl_opts(Some(tls)))
    }

    /// Builds the resource. Does no I/O.
    pub fn build(mut self) -> MySql {
        if !self.setup.is_empty() {
            // Not joined: a statement that ends in a comment would hide the next one. The driver runs them from the last to
            // the first.
            self.setup.reverse();
            self.setup.extend_from_slice(self.settings.opts.setup());
            self.settings.change(|opts| opts.setup(self.setup));
        }
        MySql::with(self.settings)
    }

    /// Changes one of the driver's options.
    fn change(mut self, change: impl FnOnce(OptsBuilder) -> OptsBuilder) -> Self {
        self.settings.change(change);
        self
    }
}

/// Shows the server's address, without the password.
impl fmt::Debug for MySqlBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.describe(&mut f.debug_struct("MySqlBuilder"))
    }
}
