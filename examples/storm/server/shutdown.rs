//! How a server shut down.
use reqscope::stats::DrainReport;
use reqscope_hyper::ServeReport;

#[derive(Debug)]
pub(crate) struct Shutdown {
    pub(crate) requests: ServeReport,
    /// What became of the pool, if there is one.
    pub(crate) closed: Option<PoolShutdown>,
}

/// What became of a pool's connections.
#[derive(Debug)]
pub(crate) struct PoolShutdown {
    pub(crate) pool: DrainReport,
    /// How many of them the database's server still lists half a second later, if there is a server.
    pub(crate) left: Option<u64>,
}

impl Shutdown {
    pub(crate) fn is_clean(&self) -> bool {
        self.requests.is_clean() && self.closed.as_ref().is_none_or(PoolShutdown::is_clean)
    }
}

impl PoolShutdown {
    fn is_clean(&self) -> bool {
        self.pool.is_clean() && self.left.is_none_or(|left| left == 0)
    }
}
