use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::MySqlError;

/// How many seconds two readings of one server's start may be apart: `Uptime` is in whole seconds.
const PRECISION: u64 = 2;

/// One run of one server, from start to shutdown. A connection id is valid only within it: after a restart, or behind a
/// load balancer, the same id may belong to another client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerInstance {
    host: String,
    port: u16,
    /// The upper bits of `UUID_SHORT()`, which hold the server's id and the second of its start. A client that calls it 16
    /// million times moves it by a second.
    start: u64,
}

impl ServerInstance {
    /// Returns whether `conn` leads to the same run, although `now` has another start, which a client may have moved. If
    /// not, it leads to another server, or to this one after a restart. A restart within two seconds is not noticed.
    ///
    /// # Errors
    ///
    /// Returns the error of the query.
    pub(crate) async fn was_moved(&self, now: &ServerInstance, conn: &mut Conn) -> Result<bool, MySqlError> {
        let id = |server: &ServerInstance| server.start >> 32;
        if (&self.host, self.port, id(self)) != (&now.host, now.port, id(now)) {
            return Ok(false);
        }
        let mut answers = conn.query_iter("SELECT UNIX_TIMESTAMP(); SHOW GLOBAL STATUS LIKE 'Uptime'").await?;
        let time: Vec<u64> = answers.collect().await?;
        let uptime: Vec<(String, u64)> = answers.collect().await?;
        answers.drop_result().await?;
        let started = time.iter().sum::<u64>().saturating_sub(uptime.iter().map(|(_name, seconds)| seconds).sum());
        Ok(started.abs_diff(self.start & u64::from(u32::MAX)) <= PRECISION)
    }
}

/// What a new connection learns about its server and itself.
pub(crate) struct ServerInfo {
    pub(crate) server: ServerInstance,
    /// The connection's id on the server. Not the id from the handshake, which a proxy invents and MariaDB truncates to
    /// 32 bits.
    pub(crate) id: u64,
    pub(crate) read_only: bool,
    pub(crate) role: Option<String>,
}

/// The expression for the session's role in a SELECT; NULL on servers without roles (before MySQL 8). MariaDB skips the
/// comment for MySQL 8.
pub(crate) const ROLE: &str = "COALESCE(NULL /*M! , CURRENT_ROLE() */ /*!80000 , CURRENT_ROLE() */)";

impl ServerInfo {
    /// Queries it from the server: one round trip for each new connection, 40 us on loopback.
    ///
    /// # Errors
    ///
    /// Returns the error of the query. A server that does not know these names cannot stop statements.
    pub(crate) async fn query(conn: &mut Conn) -> Result<ServerInfo, MySqlError> {
        // `read_only` is a number in some servers and a word in others.
        let asked = format!(
            "SELECT CONNECTION_ID(), @@hostname, @@port, UUID_SHORT() >> 24, \
             @@global.read_only NOT IN ('0', 'OFF'), {ROLE}"
        );
        let answer: Option<(u64, String, u16, u64, u8, Option<String>)> = conn.query_first(asked).await?;
        let (id, host, port, start, read_only, role) = answer.ok_or(MySqlError::Closed)?;
        Ok(ServerInfo { server: ServerInstance { host, port, start }, id, read_only: read_only != 0, role })
    }
}

/// Returns whether the server is no node of a Galera cluster, or one that has not lost it. A node without its cluster
/// accepts connections and refuses statements (1047).
pub(crate) async fn has_cluster(conn: &mut Conn) -> Result<bool, MySqlError> {
    // MySQL skips the comment, and has no Galera.
    let asked = "SELECT COALESCE(NULL /*M! , (SELECT s.variable_value FROM information_schema.global_status s \
                 JOIN information_schema.global_variables v WHERE s.variable_name = 'wsrep_ready' \
                 AND v.variable_name = 'wsrep_on' AND v.variable_value = 'ON') */)";
    let ready: Option<Option<String>> = conn.query_first(asked).await?;
    Ok(ready.flatten().is_none_or(|ready| ready != "OFF"))
}
