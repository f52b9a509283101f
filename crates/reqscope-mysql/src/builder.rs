use std::fmt;
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder};

use crate::MySql;
use crate::settings::Settings;

/// Sets up a [`MySql`]: what the driver has no word for, and the driver's options through [`from_opts`](Self::from_opts).
///
/// Three of the driver's own defaults are others here: `prefer_socket` is off (it makes a second handshake over the server's
/// socket, for which say [`socket`](Self::socket)), TCP keepalive begins after 60 s of silence (the driver has none, and
/// firewalls forget a silent connection after some minutes), and `max_allowed_packet` is 16 MiB, MariaDB's default (the
/// driver asks for it, one more round trip for each connection; a server that allows less closes the connection over a larger
/// packet). `TCP_NODELAY` is on, as in the driver. An option that a URL or `Opts` sets stands, except `prefer_socket`.
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
    /// From the driver's own options, for what a URL cannot say.
    ///
    /// Its pool options are not used. Its `init` statements run once for each connection, and what they set is gone after its
    /// first user; its `setup` statements run after each reset, too.
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

    /// How long a connection may take to be made: the name, all its addresses, the handshake, the setup. Default: 5 s,
    /// which a server that is alive needs in no network. Each address has an equal share of what is left, so one that
    /// answers nothing does not use up the others' time.
    ///
    /// A pool has a [time](reqscope::pool::PoolBuilder::create_timeout) of its own around it, 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long each operation may take; `None` for as long as it takes. Default: 30 s, longer than anybody waits for a page.
    ///
    /// The driver has no timeout at all, and a server that is frozen, or behind a network that swallows packets, is waited
    /// for until the kernel gives up, after 15 minutes. The connection of an operation that took too long is given up
    /// and what runs there is stopped. [`set_operation_timeout`](crate::MySqlConn::set_operation_timeout) changes it for
    /// one user. Rows read from a stream or a [`QueryResult`](mysql_async::QueryResult) are under no deadline: the
    /// driver reads them.
    pub fn operation_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.operation_timeout = timeout.into();
        self
    }

    /// How long the server itself lets a statement run: `max_statement_time` in MariaDB, for all statements;
    /// `max_execution_time` in MySQL, for SELECTs. Default: as the server is set. To the millisecond.
    ///
    /// The last line of defence: it holds when this process is gone, too. Give it less than
    /// [`operation_timeout`](Self::operation_timeout), and a statement that is too slow costs an error (1969, 3024) and not the connection.
    pub fn max_statement_time(self, time: Duration) -> Self {
        let (seconds, milliseconds) = (time.as_secs_f64(), time.as_millis());
        // A server skips the comments that are not for it: MariaDB has its own kind, and leaves out those of MySQL 5.7.
        self.setup(format!(
            "SET /*M! SESSION max_statement_time = {seconds:.3}, */ \
             /*!50704 SESSION max_execution_time = {milliseconds}, */ @reqscope = NULL"
        ))
    }

    /// The character set of the session: `SET NAMES`, such as `latin1`, or `utf8mb4 COLLATE utf8mb4_bin`. Default: the driver's
    /// `utf8mb4`, with the server's collation for it. Rust's strings are UTF-8: with any other, text arrives as bytes.
    pub fn charset(self, charset: &str) -> Self {
        self.setup(format!("SET NAMES {charset}"))
    }

    /// A statement that sets up the session: run on each new connection, and again for each user of a pooled one, as a reset
    /// takes it away. May be called several times; together they cost one round trip.
    pub fn setup(mut self, statement: impl Into<String>) -> Self {
        self.setup.push(statement.into());
        self
    }

    /// Whether to pass by a server that is read-only, in favour of the next address of the same name. Default: no, as one may
    /// well want to read from a replica.
    ///
    /// For a name that stands for a primary and its replicas, or moves with the primary. A connection that learns of it later
    /// (by an error 1290, 1836, or Galera's 1047) is not used again either way.
    pub fn require_writable(mut self, require: bool) -> Self {
        self.settings.require_writable = require;
        self
    }

    /// Connects over the server's Unix socket at this path, instead of TCP.
    pub fn socket(self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.change(|opts| opts.socket(Some(path)))
    }

    /// TLS with certificates that are verified. Default: none.
    ///
    /// The built-in roots are Mozilla's; for a private authority
    /// [`with_root_certs`](mysql_async::SslOpts::with_root_certs). A server without TLS is refused, never talked to in the
    /// clear.
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

    /// The resource. Does no I/O.
    pub fn build(mut self) -> MySql {
        if !self.setup.is_empty() {
            // One text for all: each text costs a round trip, on each return to a pool.
            let ours = self.setup.join("; ");
            let mut setup = self.settings.opts.setup().to_vec();
            // The driver runs them from the last to the first.
            setup.insert(0, ours);
            self.settings.change(|opts| opts.setup(setup));
        }
        MySql::with(self.settings)
    }

    fn change(mut self, change: impl FnOnce(OptsBuilder) -> OptsBuilder) -> Self {
        self.settings.change(change);
        self
    }
}

/// Where it leads, without the password.
impl fmt::Debug for MySqlBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.describe(&mut f.debug_struct("MySqlBuilder"))
    }
}
