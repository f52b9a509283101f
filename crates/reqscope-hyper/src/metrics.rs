use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of connections of a running server, from [`Serve::metrics`](crate::Serve::metrics).
///
/// Clones are cheap, and reading does not block. All numbers are zero before the server has started and after it has
/// ended.
///
/// # Examples
///
/// ```
/// use reqscope_hyper::{ServeMetrics, serve};
///
/// # type Service = reqscope_hyper::TowerToHyperService<axum::Router>;
/// # fn f(listener: tokio::net::TcpListener, service: Service, scopes: &reqscope::Scopes) {
/// let server = serve(listener, service, scopes);
/// let metrics: ServeMetrics = server.metrics();
/// assert_eq!((metrics.connections(), metrics.upgraded()), (0, 0));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct ServeMetrics(Arc<Counts>);

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    upgraded: AtomicU64,
}

impl ServeMetrics {
    /// Returns the number of open connections, which count towards
    /// [`max_connections`](crate::Serve::max_connections). Includes the upgraded ones.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Relaxed)
    }

    /// Returns the number of open connections that were upgraded, for example to a WebSocket.
    pub fn upgraded(&self) -> u64 {
        self.0.upgraded.load(Relaxed)
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn count_connection(&self) -> CountGuard {
        // Relaxed, here and below: no other memory access depends on the counts.
        self.0.connections.fetch_add(1, Relaxed);
        CountGuard(self.clone(), |counts| &counts.connections)
    }

    /// Counts an upgraded connection until the guard is dropped.
    pub(crate) fn count_upgraded(&self) -> CountGuard {
        self.0.upgraded.fetch_add(1, Relaxed);
        CountGuard(self.clone(), |counts| &counts.upgraded)
    }
}

/// Decrements one of the counts when it is dropped.
pub(crate) struct CountGuard(ServeMetrics, fn(&Counts) -> &AtomicU64);

impl Drop for CountGuard {
    fn drop(&mut self) {
        (self.1)(&self.0.0).fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for ServeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeMetrics")
            .field("connections", &self.connections())
            .field("upgraded", &self.upgraded())
            .finish()
    }
}
