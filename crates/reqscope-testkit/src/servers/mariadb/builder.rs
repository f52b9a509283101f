use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::MariaDb;
use super::client::Client;
use super::install::{self, Binaries, PACKAGE, USER};
use crate::servers::blocking;
use crate::servers::error::ServerError;
use crate::servers::folder::Folder;
use crate::servers::port::Port;
use crate::servers::server::{Launch, Server};
use crate::servers::user::UnixUser;

/// How many ports are tried, because another process may take one before the server does.
const PORTS: usize = 5;

/// Small, for a server that lives for seconds, but with correct recovery, for one that is killed.
const OPTIONS: [&str; 9] = [
    "--bind-address=127.0.0.1",
    // A slow name server must not delay connections.
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=32M",
    // As in the template, or the server would create another log first.
    install::LOG_SIZE,
    // Many servers at once would use up the system's limit.
    "--innodb-use-native-aio=0",
    // The system keeps what a killed server has written; only a power cut loses up to a second.
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-load-at-startup=0",
    "--innodb-buffer-pool-dump-at-shutdown=0",
    "--aria-pagecache-buffer-size=1M",
];

/// Builds a [`MariaDb`] with options.
///
/// ```no_run
/// # async fn example() -> Result<(), reqscope_testkit::ServerError> {
/// use reqscope_testkit::MariaDb;
///
/// let server = MariaDb::builder().option("max_connections", 5).option("wait_timeout", 2).start().await?;
/// assert_eq!(server.query("SELECT @@global.max_connections").await?, "5");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing before `start`"]
pub struct MariaDbBuilder {
    options: Vec<OsString>,
}

impl MariaDbBuilder {
    pub(super) fn new() -> MariaDbBuilder {
        MariaDbBuilder { options: Vec::new() }
    }

    /// Adds an option for `mariadbd`: `.option("max_connections", 5)` is `--max_connections=5`.
    ///
    /// The option applies to every start of the server, and overrides earlier options of the same name, including those
    /// of the kit. So do not change `datadir`, `socket` and `port`, because the kit would look for the server in the
    /// wrong place. A switch needs a value, too: `.option("skip_networking", 1)`. An option that is fixed when a data
    /// folder is initialised, such as `innodb_page_size`, cannot be changed.
    ///
    /// Defaults to none, because the server's own defaults suit most tests; the kit only changes those that make it
    /// small.
    pub fn option(mut self, name: &str, value: impl Display) -> MariaDbBuilder {
        self.options.push(format!("--{name}={value}").into());
        self
    }

    /// Starts the server, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// - A binary is missing, or the tests run as root and there is no user `mysql`
    ///   ([`is_missing`](ServerError::is_missing)). The message says where the binaries were searched and what to do.
    /// - The server has exited, because of an unknown option for example. The message has the end of its log. If
    ///   another process has its port, up to 5 ports are tried.
    /// - The server is not ready within 60 s ([`is_timeout`](ServerError::is_timeout)).
    /// - No folder could be created in the temporary folder, or a process could not be started.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no server is left: a server that was started is killed as soon as it is ready. A
    /// runtime that is dropped meanwhile waits for that.
    pub async fn start(self) -> Result<MariaDb, ServerError> {
        // If this future is dropped, the server is dropped as soon as it has started.
        blocking(move || self.start_on_some_port()).await
    }

    fn start_on_some_port(&self) -> Result<MariaDb, ServerError> {
        let binaries = Binaries::find()?;
        let user = UnixUser::other_than_root(USER, PACKAGE)?;
        for _ in 1..PORTS {
            match self.start_with(&binaries, user) {
                Err(error) if error.is_taken_port() => {}
                outcome => return outcome,
            }
        }
        self.start_with(&binaries, user)
    }

    fn start_with(&self, binaries: &Binaries, user: Option<UnixUser>) -> Result<MariaDb, ServerError> {
        let mut folder = Folder::new(user)?;
        let data = folder.path().join("data");
        let socket = folder.path().join("socket");
        fs::create_dir(&data).map_err(ServerError::io(format!("make {}", data.display())))?;
        if let Some(user) = user {
            user.own(&data)?;
        }
        binaries.fill(&data, &mut folder, user)?;

        let port = Port::find().map_err(ServerError::io("find a free port"))?;
        let client = Client::new(binaries.client.clone(), folder.path().to_owned(), socket.clone());
        let launch = Launch {
            program: binaries.server.clone(),
            arguments: self.arguments(&data, &socket, &port),
            user,
            is_ready: Box::new({
                let socket = socket.clone();
                move || is_ready(&socket)
            }),
        };
        let server =
            MariaDb { server: Arc::new(Server::new(folder, launch)), client: Arc::new(client), port, socket };
        server.server.start()?;
        Ok(server)
    }

    fn arguments(&self, data: &Path, socket: &Path, port: &Port) -> Vec<OsString> {
        let with = |option: &str, path: &Path| {
            let mut option = OsString::from(option);
            option.push(path);
            option
        };
        // This option must be the first, and of two that contradict each other the last one applies.
        let mut arguments = vec![OsString::from("--no-defaults")];
        arguments.extend(OPTIONS.map(OsString::from));
        arguments.push(with("--datadir=", data));
        arguments.push(with("--socket=", socket));
        arguments.push(with("--pid-file=", &data.join("pid")));
        arguments.push(format!("--port={}", port.number()).into());
        arguments.extend(self.options.iter().cloned());
        arguments
    }
}

/// Returns whether the server greets a client. It connects over the Unix socket, because a host that connects often
/// over TCP without logging in would be blocked.
fn is_ready(socket: &Path) -> bool {
    let hello = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(stream.read(&mut [0; 64])? > 4)
    };
    hello().unwrap_or(false)
}
