use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::MySqlError;

/// One run of one server, from its start to its end. The number of a connection means something only within it: after
/// a restart, or behind a load balancer, the same number is another client's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerInstance {
    host: String,
    port: u16,
    /// `UUID_SHORT` counts up from the server's id and the second of its start, both above the bits asked for.
    start: u64,
}

impl ServerInstance {
    /// The same server, stopped and started in between.
    pub(crate) fn is_restart_of(&self, earlier: &ServerInstance) -> bool {
        self.host == earlier.host && self.port == earlier.port && self.start != earlier.start
    }
}

/// What a new connection is told about where it leads.
pub(crate) struct ServerInfo {
    pub(crate) server: ServerInstance,
    /// The connection's number there. Not the one of the handshake, which a proxy makes up and MariaDB cuts to 32 bits.
    pub(crate) id: u64,
    pub(crate) read_only: bool,
    pub(crate) role: Option<String>,
}

/// The session's role, for a SELECT; none where there are no roles (before MySQL 8). MariaDB leaves out what is for MySQL 8.
pub(crate) const ROLE: &str = "COALESCE(NULL /*M! , CURRENT_ROLE() */ /*!80000 , CURRENT_ROLE() */)";

impl ServerInfo {
    /// One round trip for each new connection, 40 us on loopback.
    ///
    /// # Errors
    ///
    /// Those of the query. A server that does not know these names is none that a statement could be stopped on.
    pub(crate) async fn query(conn: &mut Conn) -> Result<ServerInfo, MySqlError> {
        // Read-only is a number in some servers and a word in others.
        let asked = format!(
            "SELECT CONNECTION_ID(), @@hostname, @@port, UUID_SHORT() >> 24, \
             @@global.read_only NOT IN ('0', 'OFF'), {ROLE}"
        );
        let answer: Option<(u64, String, u16, u64, u8, Option<String>)> = conn.query_first(asked).await?;
        let (id, host, port, start, read_only, role) = answer.ok_or(MySqlError::Closed)?;
        Ok(ServerInfo { server: ServerInstance { host, port, start }, id, read_only: read_only != 0, role })
    }
}
