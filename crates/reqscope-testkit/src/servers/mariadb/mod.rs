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

/// A private MariaDB: a real server, started from this machine's binaries, for one test or all tests of a process.
///
/// It has its own folder, its own port on 127.0.0.1, an empty database `test`, and a user `root` without a password,
/// over TCP and over its Unix [`socket`](MariaDb::socket). It can be stopped, killed, frozen and restarted. **It ends
/// when this process ends, however that happens**, even if the process is killed or the server is frozen; nothing is
/// left.
///
/// | fault | new clients | open connections |
/// |---|---|---|
/// | [`stop`](MariaDb::stop) | are refused | get an error or a reset, after the running statement was killed |
/// | [`kill`](MariaDb::kill) | are refused | are reset |
/// | [`freeze`](MariaDb::freeze) | are connected by the system, and get no answer | get no answer |
/// | [`restart`](MariaDb::restart) | are refused, then served on the same port | as `stop` |
///
/// # Binaries
///
/// A server needs `mariadbd`, `mariadb-install-db` and the client `mariadb`. The path of each is taken from its
/// variable (`REQSCOPE_MARIADBD_BIN`, `REQSCOPE_MARIADB_INSTALL_DB_BIN`, `REQSCOPE_MARIADB_BIN`), else searched on
/// PATH, and then in the folders where packages put it. A variable that does not name a program is an error. On Debian,
/// `apt-get install mariadb-server` installs all three; the server that it starts is not needed.
///
/// # Notes
///
/// - The server runs as the user that runs the tests, or as the user `mysql` if that is root.
/// - The first start on a machine takes a second, because it initialises a data folder and keeps a copy of 20 MB per
///   version in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`, in `reqscope/servers`). Later starts take a
///   fifth of that. The copy may be removed at any time.
/// - The server is configured to be small and fast (a buffer pool of 32 MB, a log of 4 MB, no host names). Committed
///   data survives [`kill`](MariaDb::kill), but not a power cut.
/// - The machine's own configuration is not read.
/// - The kit connects once to find out whether the server is ready, so its counters start with an aborted connection.
/// - Every process on this machine can reach the server's port while it runs, so do not store secrets in it.
/// - The server does not belong to a runtime. Waiting is done by the blocking threads of the current runtime, so a
///   server in a `static` serves tests that each have a runtime of their own.
/// - Dropping it kills the server, and blocks the thread for about 20 ms until the process has ended and the folder is
///   removed. A server in a `static` is not dropped, and ends with the process.
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
    /// Starts a server without options, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// As [`MariaDbBuilder::start`].
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// As [`MariaDbBuilder::start`]: no server is left.
    pub async fn start() -> Result<MariaDb, ServerError> {
        MariaDb::builder().start().await
    }

    /// Returns a builder, for a server with options.
    pub fn builder() -> MariaDbBuilder {
        MariaDbBuilder::new()
    }

    /// Returns the port of 127.0.0.1 on which the server listens, which is the same after each restart.
    ///
    /// On Linux no other process gets it while the server is down.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Returns the address for clients, or for a `FaultProxy` in front of it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()))
    }

    /// Returns the path of the server's Unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the server's folder, with the file `log` and the data in the folder `data`.
    ///
    /// The folder is removed with the server, so look into it before the test ends.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// Returns the id of the server's process, or `None` if it is not running. A frozen server is running.
    pub fn pid(&self) -> Option<u32> {
        self.server.id()
    }

    /// Returns a URL for drivers: `mysql://root@127.0.0.1:PORT/test`.
    pub fn url(&self) -> String {
        format!("mysql://root@{}/test", self.address())
    }

    /// Stops the server as an administrator does (SIGTERM), and waits until it has stopped.
    ///
    /// A frozen server is thawed first. If it is not running, nothing happens.
    ///
    /// # Errors
    ///
    /// Returns an error if the server has not stopped within 20 s; it was then killed.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server is still stopped, and the next call that changes its state waits for that.
    pub async fn stop(&self) -> Result<(), ServerError> {
        let server = Arc::clone(&self.server);
        blocking(move || server.stop()).await
    }

    /// Kills the server (SIGKILL), frozen or not, and waits until it has ended. A system that runs out of memory does
    /// the same.
    ///
    /// If it is not running, nothing happens.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has not ended the process within 10 s.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server is still killed.
    pub async fn kill(&self) -> Result<(), ServerError> {
        let server = Arc::clone(&self.server);
        blocking(move || server.kill()).await
    }

    /// Freezes the server (SIGSTOP): its sockets stay open but it does not answer, as on a machine that swaps, or a
    /// virtual machine that moves to another host.
    ///
    /// Once this returns, which is usually at once, the server answers nothing. Earlier statements may have been
    /// executed.
    ///
    /// # Errors
    ///
    /// Returns an error if the server is not running, or a thread still runs after 5 s.
    pub fn freeze(&self) -> Result<(), ServerError> {
        self.server.freeze()
    }

    /// Lets a frozen server continue (SIGCONT). It then answers what was sent meanwhile.
    ///
    /// # Errors
    ///
    /// Returns an error if the server is not running.
    pub fn thaw(&self) -> Result<(), ServerError> {
        self.server.signal(Signal::CONT)
    }

    /// Stops the server if it runs, starts it again with the same port, folder and data, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// As [`stop`](MariaDb::stop) and as [`MariaDbBuilder::start`].
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server is still restarted, and the next call that changes its state waits for
    /// that.
    pub async fn restart(&self) -> Result<(), ServerError> {
        let server = Arc::clone(&self.server);
        blocking(move || server.restart()).await
    }

    /// Executes statements as `root`, by the command-line client over the Unix socket, and returns their output: a
    /// second connection beside the driver under test.
    ///
    /// Statements are separated by semicolons. Each row is a line and columns are separated by tabs, without a header
    /// or a final line feed: `SELECT 1` returns `1`. The database is `test`. Each call is a connection of its own,
    /// which takes about 10 ms, and no state of a session is kept. `root` has the privilege to connect even when
    /// `max_connections` is reached, unless a driver that connects as `root` has taken that extra connection.
    ///
    /// # Errors
    ///
    /// Returns the error of the first statement that fails; earlier ones were executed. Also returns an error if there
    /// is no answer: at once if the server is not running, after 5 s if it is frozen.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the statements are still executed; their output is lost.
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
