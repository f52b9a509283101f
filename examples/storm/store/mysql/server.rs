//! Where the database is.
use anyhow::Result;
#[cfg(unix)]
use reqscope_testkit::MariaDb;

use crate::options::Server;

pub(crate) struct Place {
    /// Never shown: there may be a password in it.
    url: String,
    /// The server of our own, which ends with this, and with the process, however that ends.
    #[cfg(unix)]
    _server: Option<MariaDb>,
}

impl Place {
    /// The database that the command line names, or one on a private server.
    pub(crate) async fn find(server: &Server) -> Result<Place> {
        match &server.url {
            Some(url) => Ok(Place {
                url: url.clone(),
                #[cfg(unix)]
                _server: None,
            }),
            None => Place::own(server).await,
        }
    }

    #[cfg(unix)]
    async fn own(server: &Server) -> Result<Place> {
        use anyhow::Context;

        // Besides the pool: those who stop, who look and who count, and those that are on their way out.
        let connections = 2 * server.pool + 20;
        let mariadb = MariaDb::builder().option("max_connections", connections).start();
        let mariadb = mariadb.await.context("no server of its own; `--url` names another one")?;
        Ok(Place { url: mariadb.url(), _server: Some(mariadb) })
    }

    #[cfg(not(unix))]
    async fn own(_server: &Server) -> Result<Place> {
        anyhow::bail!("here the storm starts no server of its own: name a database with `--url`")
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
