use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many connections a server has at this moment; from [`Serve::metrics`](crate::Serve::metrics).
///
/// For metrics: a clone is cheap, and reading it stops nobody. All zero before the server has started and after it has
/// ended.
///
/// ```
/// use reqscope_hyper::{ServeMetrics, serve};
///
/// # fn f(listener: tokio::net::TcpListener, service: (), scopes: &reqscope::Scopes) {
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
    /// Connections that hold a place of [`max_connections`](crate::Serve::max_connections), upgraded ones too.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Relaxed)
    }

    /// Those among them that were upgraded, to a WebSocket for example, and are not yet closed.
    pub fn upgraded(&self) -> u64 {
        self.0.upgraded.load(Relaxed)
    }

    // Relaxed: the counts order nothing else.

    pub(crate) fn count_connection(&self) -> CountGuard {
        self.0.connections.fetch_add(1, Relaxed);
        CountGuard(self.clone(), |counts| &counts.connections)
    }

    pub(crate) fn count_upgraded(&self) -> CountGuard {
        self.0.upgraded.fetch_add(1, Relaxed);
        CountGuard(self.clone(), |counts| &counts.upgraded)
    }
}

/// One that is counted for as long as this lives.
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
