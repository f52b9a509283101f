mod builder;
mod client;
mod install;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::Signal;

use super::blocking;
use super::error::ServerError;
use super::port::Port;
use super::server::Server;
use client::Client;

pub use builder::MariaDbBuilder;

/// A private MariaDB: a real server, of this machine's binaries, for one test or for all tests of a process.
///
/// It has a folder and a port of 127.0.0.1 of its own, an empty database `test`, and a user `root` without a password,
/// over TCP and over its Unix [`socket`](MariaDb::socket). It can be stopped, killed, frozen and restarted, and
/// **it ends when this process ends, however that ends**: killed, too, and frozen servers, too; nothing is left behind.
///
/// | fault | new clients | open connections |
/// |---|---|---|
/// | [`stop`](MariaDb::stop) | are refused | are told, or reset, after the statement at hand was killed |
/// | [`kill`](MariaDb::kill) | are refused | are reset |
/// | [`freeze`](MariaDb::freeze) | are connected by the system, and hear nothing | hear nothing |
/// | [`restart`](MariaDb::restart) | are refused, then served on the same port | as `stop` |
///
/// # Which binaries
///
/// `mariadbd`, `mariadb-install-db` and the client `mariadb`. Each is the one that its variable names
/// (`REQSCOPE_MARIADBD_BIN`, `REQSCOPE_MARIADB_INSTALL_DB_BIN`, `REQSCOPE_MARIADB_BIN`), or else the first one on PATH,
/// or else in the folders where packages put it. A variable that names no program is an error, and no reason to take
/// another. On Debian all three come with `apt-get install mariadb-server`; the server that this starts is not needed.
///
/// # What surprises
///
/// - It runs as the user who runs the tests; if that is root, as the user `mysql`.
/// - The first start on a machine takes a second: it initialises a data folder and keeps a copy of 20 MB in the user's
///   cache folder (`$XDG_CACHE_HOME` or `~/.cache`, in `reqscope/servers`), one for each version. Later ones take a
///   fifth of that. The copy may be removed at any time.
/// - It is configured to be small and quick (a buffer pool of 32 MB, a log of 4 MB, no names of hosts). What it has
///   committed outlives [`kill`](MariaDb::kill), as it should, but not a power cut.
/// - Nothing of the machine's own configuration is read.
/// - The kit has asked it whether it is_ready, so its counters start with a connection that was given up.
/// - Everybody on this machine can reach its port while it runs: put nothing into it that matters.
/// - It belongs to no runtime. The waiting is done by the blocking threads of the runtime at hand, so that a server in
///   a
///   `static` serves the tests of a process, each on a runtime of its own, one after the other.
/// - A drop kills it and waits until it has gone and its folder is removed: some 20 ms, in which the thread is blocked.
///   A
///   server in a `static` is never dropped, and ends with the process.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), reqscope_testkit::ServerError> {
/// use reqscope_testkit::MariaDb;
///
/// let server = MariaDb::start().await?;
/// server.query("CREATE TABLE seen (id INT PRIMARY KEY); INSERT INTO seen VALUES (1), (2)").await?;
///
/// // Here a driver connects to `server.url()`.
///
/// server.kill().await?;
/// server.restart().await?;
/// assert_eq!(server.query("SELECT COUNT(*) FROM seen").await?, "2");
/// # Ok(())
/// # }
/// ```
#[must_use = "a server that is dropped is killed"]
pub struct MariaDb {
    server: Arc<Server>,
    client: Arc<Client>,
    port: Port,
    socket: PathBuf,
}

impl MariaDb {
    /// Starts one without options of your own, and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`MariaDbBuilder::start`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// As [`MariaDbBuilder::start`]: no server is left.
    pub async fn start() -> Result<MariaDb, ServerError> {
        MariaDb::builder().start().await
    }

    /// One to be started with options of your own.
    pub fn builder() -> MariaDbBuilder {
        MariaDbBuilder::new()
    }

    /// The port of 127.0.0.1 on which it listens, in each of its lives.
    ///
    /// On Linux nobody else gets it while the server is down.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where clients connect to, such as a `FaultProxy` in front of it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()))
    }

    /// The Unix socket on which it listens, too.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its folder, with its log in the file `log` and its data in the folder `data`.
    ///
    /// It goes with the server. Look into it while a test fails, not after.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// The id of its process, or `None` if it does not run. A frozen one runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.id()
    }

    /// What drivers take: `mysql://root@127.0.0.1:PORT/test`.
    pub fn url(&self) -> String {
        format!("mysql://root@{}/test", self.address())
    }

    /// Asks it to stop (SIGTERM), and waits until it has: what an administrator does.
    ///
    /// A frozen one is thawed, or it would not hear of it. One that does not run is left alone.
    ///
    /// # Errors
    ///
    /// It has not stopped within 20 s. It was killed then.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// The server stops nevertheless, and the next call that changes its state waits for that.
    pub async fn stop(&self) -> Result<(), ServerError> {
        let server = Arc::clone(&self.server);
        blocking(move || server.stop()).await
    }

    /// Kills it (SIGKILL), frozen or not, and waits until it has gone: what the system does when memory is short.
    ///
    /// One that does not run is left alone.
    ///
    /// # Errors
    ///
    /// The system has not ended it within 10 s.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// The server is killed nevertheless.
    pub async fn kill(&self) -> Result<(), ServerError> {
        let server = Arc::clone(&self.server);
        blocking(move || server.kill()).await
    }

    /// Freezes it (SIGSTOP): its sockets stay open, and nobody is behind them. What a machine does that swaps, or that
    /// is a virtual one on its way to another host.
    ///
    /// Nothing is answered any more once this returns, mostly at once. What was sent before may have been executed.
    ///
    /// # Errors
    ///
    /// It does not run, or its threads still do after 5 s.
    pub fn freeze(&self) -> Result<(), ServerError> {
        self.server.freeze()
    }

    /// Lets it go on (SIGCONT). It answers what it has been asked meanwhile.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn thaw(&self) -> Result<(), ServerError> {
        self.server.signal(Signal::CONT)
    }

    /// Stops it if it runs, starts it again with the same port, folder and data, and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`stop`](MariaDb::stop) and as [`MariaDbBuilder::start`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// The server is restarted nevertheless, and the next call that changes its state waits for that.
    pub async fn restart(&self) -> Result<(), ServerError> {
        let server = Arc::clone(&self.server);
        blocking(move || server.restart()).await
    }

    /// What the server answers to these statements, asked as `root` by the command-line client, over the Unix socket:
    /// an eye beside the driver under test.
    ///
    /// Several are separated by semicolons. A row is a line, columns are separated by tabs, there is no header and no
    /// line feed at the end: `SELECT 1` gives `1`. The database is `test`. Each call is a connection of its own, so
    /// nothing of a session outlives it, and it takes some 10 ms. As `root` has the privilege for it, one more than
    /// `max_connections` gets in; a driver that connects as `root`, too, may have taken that place.
    ///
    /// # Errors
    ///
    /// What the server says of the first statement that fails; those before it were executed. Or nobody is_ready: at
    /// once if it does not run, after 5 s if it is frozen.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// The statements are executed nevertheless; their answer is lost.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), reqscope_testkit::ServerError> {
    /// let server = reqscope_testkit::MariaDb::start().await?;
    /// let sleeping = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'";
    /// assert_eq!(server.query(sleeping).await?, "0");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn query(&self, sql: &str) -> Result<String, ServerError> {
        let client = Arc::clone(&self.client);
        let sql = sql.to_owned();
        blocking(move || client.query(&sql)).await
    }
}

impl fmt::Debug for MariaDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MariaDb").field("url", &self.url()).field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.server.end();
    }
}
