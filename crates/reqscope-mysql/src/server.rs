use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::MySqlError;

/// One run of one server, from start to shutdown. A connection id is valid only within it: after a restart, or behind a
/// load balancer, the same id may belong to another client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerInstance {
    host: String,
    port: u16,
    /// The upper bits of `UUID_SHORT()`, which hold the server's id and the second of its start.
    start: u64,
}

impl ServerInstance {
    /// Returns whether this is the same server as `earlier`, restarted in between.
    pub(crate) fn is_restart_of(&self, earlier: &ServerInstance) -> bool {
        self.host == earlier.host && self.port == earlier.port && self.start != earlier.start
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
