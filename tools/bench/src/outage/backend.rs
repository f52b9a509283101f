use std::future::Future;
use std::time::Duration;

use super::Ask;

/// A server that can be stopped and restarted at its address.
pub(crate) trait Backend {
    /// The resource that its callers have a pool of.
    type Connections: Ask;

    /// How long it is down, and by how much longer at most: a restart may come at any time between two probes of the
    /// pool.
    const DOWN: Duration;
    const DOWN_SPREAD: Duration;

    /// Closes all connections, and refuses new ones.
    async fn stop(&mut self) -> anyhow::Result<()>;

    async fn restart(&mut self) -> anyhow::Result<()>;

    /// Returns a client without a pool.
    fn client(&self) -> impl Client;
}

/// A client that connects for each question.
pub(crate) trait Client: Send + 'static {
    fn is_answered(&self) -> impl Future<Output = bool> + Send;
}
