//! How a server came to its end.
use reqscope::DrainReport;
use reqscope_hyper::ServeReport;

#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) requests: ServeReport,
    /// What became of the pool's connections, if there is a pool.
    pub(crate) pool: Option<DrainReport>,
}

impl Served {
    pub(crate) fn is_clean(&self) -> bool {
        self.requests.is_clean() && self.pool.is_none_or(|pool| pool.is_clean())
    }
}
