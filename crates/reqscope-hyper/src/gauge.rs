use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many connections a server has at this moment; from [`Serve::gauge`](crate::Serve::gauge).
///
/// For metrics: a clone is cheap, and reading it stops nobody. All zero before the server has started and after it has
/// ended.
///
/// ```
/// use reqscope_hyper::{Gauge, serve};
///
/// # fn f(listener: tokio::net::TcpListener, service: (), scopes: &reqscope::Scopes) {
/// let server = serve(listener, service, scopes);
/// let gauge: Gauge = server.gauge();
/// assert_eq!((gauge.connections(), gauge.upgraded()), (0, 0));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Gauge(Arc<Counts>);

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    upgraded: AtomicU64,
}

impl Gauge {
    /// Connections that hold a place of [`max_connections`](crate::Serve::max_connections), upgraded ones too.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Relaxed)
    }

    /// Those among them that were upgraded, to a WebSocket for example, and are not yet closed.
    pub fn upgraded(&self) -> u64 {
        self.0.upgraded.load(Relaxed)
    }

    // Relaxed: the counts order nothing else.

    pub(crate) fn connected(&self) -> Counted {
        self.0.connections.fetch_add(1, Relaxed);
        Counted(self.clone(), |counts| &counts.connections)
    }

    pub(crate) fn handed_over(&self) -> Counted {
        self.0.upgraded.fetch_add(1, Relaxed);
        Counted(self.clone(), |counts| &counts.upgraded)
    }
}

/// One that is counted for as long as this lives.
pub(crate) struct Counted(Gauge, fn(&Counts) -> &AtomicU64);

impl Drop for Counted {
    fn drop(&mut self) {
        (self.1)(&self.0.0).fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauge").field("connections", &self.connections()).field("upgraded", &self.upgraded()).finish()
    }
}
