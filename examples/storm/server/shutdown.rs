//! How a server came to its end.
use reqscope::stats::DrainReport;
use reqscope_hyper::ServeReport;

#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) requests: ServeReport,
    /// What became of the pool, if there is one.
    pub(crate) closed: Option<Closed>,
}

/// What became of a pool's connections.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) pool: DrainReport,
    /// How many of them the database's server still has half a second later, if it has a server.
    pub(crate) left: Option<u64>,
}

impl Served {
    pub(crate) fn is_clean(&self) -> bool {
        self.requests.is_clean() && self.closed.as_ref().is_none_or(Closed::is_clean)
    }
}

impl Closed {
    fn is_clean(&self) -> bool {
        self.pool.is_clean() && self.left.is_none_or(|left| left == 0)
    }
}
