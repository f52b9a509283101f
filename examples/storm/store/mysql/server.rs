//! The server that the database is on.
use anyhow::Result;
#[cfg(unix)]
use reqscope_testkit::MariaDb;

use crate::options::ServerOptions;

/// A database, and its server if the storm has started one.
pub(crate) struct DatabaseServer {
    /// May contain a password, so it is never printed.
    url: String,
    /// The private server. It ends when this is dropped, and when the process ends, however that happens.
    #[cfg(unix)]
    _server: Option<MariaDb>,
}

impl DatabaseServer {
    /// Returns the database that the command line names, or starts a private server.
    pub(crate) async fn find(options: &ServerOptions) -> Result<DatabaseServer> {
        match &options.url {
            Some(url) => Ok(DatabaseServer {
                url: url.clone(),
                #[cfg(unix)]
                _server: None,
            }),
            None => DatabaseServer::own(options).await,
        }
    }

    #[cfg(unix)]
    async fn own(options: &ServerOptions) -> Result<DatabaseServer> {
        use anyhow::Context;

        // Besides those of the pool there are connections that stop statements, of the monitor, for the storm itself,
        // and those that are being closed.
        let connections = 2 * options.pool + 20;
        let mariadb = MariaDb::builder().option("max_connections", connections).start();
        let mariadb = mariadb.await.context("cannot start a private server; `--url` names another one")?;
        Ok(DatabaseServer { url: mariadb.url(), _server: Some(mariadb) })
    }

    #[cfg(not(unix))]
    async fn own(_options: &ServerOptions) -> Result<DatabaseServer> {
        anyhow::bail!("the storm cannot start a private server on this platform: name a database with `--url`")
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
