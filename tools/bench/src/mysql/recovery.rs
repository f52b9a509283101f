//! A server that is stopped for a while: measures how soon after an independent client the callers of a pool have an
//! answer.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use reqscope::Pool;
use reqscope_mysql::{MySql, MySqlConn};
use reqscope_testkit::MariaDb;

use super::bare;
use crate::outage::{Ask, BOUND, Backend, Client, Log, apart, watch};

/// Restarts the server so many times, and prints what the callers saw.
pub(super) fn run(restarts: usize) -> anyhow::Result<()> {
    apart(async |elsewhere| {
        let server = MariaDb::start().await?;
        let pool = Pool::builder().max_size(10).acquire_timeout(BOUND).build(MySql::new(&server.url())?);
        watch(restarts, elsewhere, server, pool, Arc::new(Log::default())).await
    })
}

impl Backend for MariaDb {
    type Connections = MySql;

    const DOWN: Duration = Duration::from_secs(1);
    const DOWN_SPREAD: Duration = Duration::from_secs(1);

    async fn stop(&mut self) -> anyhow::Result<()> {
        Ok(MariaDb::stop(self).await?)
    }

    async fn restart(&mut self) -> anyhow::Result<()> {
        Ok(MariaDb::restart(self).await?)
    }

    fn client(&self) -> impl Client {
        Opts::from(bare(self))
    }
}

impl Client for Opts {
    async fn is_answered(&self) -> bool {
        let answered = async {
            let mut conn = Conn::new(self.clone()).await?;
            conn.query_drop("SELECT 1").await
        };
        answered.await.is_ok()
    }
}

impl Ask for MySql {
    async fn ask(conn: &mut MySqlConn) -> bool {
        conn.query_drop("SELECT 1").await.is_ok()
    }
}
