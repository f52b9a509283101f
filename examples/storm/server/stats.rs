//! The server's counters, as `/stats` tells them.
use reqscope::pool::PoolStatus;
use serde::{Deserialize, Serialize};

use crate::server::accounting::Books;
use crate::server::stack::Stack;

/// All counters since the last reset.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stats {
    /// What stands around the handlers.
    pub(crate) stack: Stack,
    /// Handlers that began, on whatever path of the storm.
    pub(crate) requests: u64,
    /// Handles that an acquisition returned.
    pub(crate) acquired: u64,
    /// Handles that went to a release.
    pub(crate) released: u64,
    /// Handles that were dropped without one.
    pub(crate) abandoned: u64,
    /// Handles that are still out.
    pub(crate) live: u64,
    /// Releases of a handle that had been released before.
    pub(crate) double_released: u64,
    /// Uses of a handle after its release.
    pub(crate) used_after_release: u64,
    /// Handles that were told another exit than that of their request.
    pub(crate) misled: u64,
    /// Transactions that read another request's value.
    pub(crate) crossed: u64,
    /// Answers that belonged to another question.
    pub(crate) shifted: u64,
    /// Transactions that ended in a commit.
    pub(crate) committed: u64,
    /// Rows that are there: one per commit, if all is well.
    pub(crate) rows: u64,
    /// Requests whose scope has not ended.
    pub(crate) open_scopes: u64,
    /// Releases that have not ended.
    pub(crate) pending_releases: u64,
    /// Operations that the database refused because another one was in its way.
    pub(crate) busy: u64,
    /// The pool under the handlers; `None` where there is none.
    pub(crate) pool: Option<Pool>,
    /// What the database's server was seen to do; `None` where there is none.
    pub(crate) database: Option<Database>,
    /// Handlers that were cut, by stage.
    pub(crate) cut: Cut,
    /// What reqscope says itself. A reset does not touch it.
    pub(crate) core: Core,
}

/// How many handlers were dropped before their end, by where they were at that moment.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cut {
    pub(crate) before_first_poll: u64,
    pub(crate) before_first_use: u64,
    pub(crate) acquiring: u64,
    pub(crate) holding: u64,
    pub(crate) transaction: u64,
    pub(crate) body: u64,
}

/// A pool, and the connections that it has made since the server began. A reset does not touch it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) size: u64,
    pub(crate) in_use: u64,
    pub(crate) idle: u64,
    /// Slots whose connection is being opened or closed.
    pub(crate) in_between: u64,
    pub(crate) waiting: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    /// How many connections there were at once, at most.
    pub(crate) most: u64,
}

/// What the database's server did, as it says itself in its list of connections.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Database {
    /// Connections that were given up in the middle of a statement.
    pub(crate) cut: u64,
    /// How often the server was told to end somebody; each of those takes one at least.
    pub(crate) kills: u64,
    /// How often the list was looked at.
    pub(crate) looks: u64,
    /// Statements of the pool's connections that run now.
    pub(crate) running: u64,
    /// How many of them ran at once, at most.
    pub(crate) most: u64,
    /// Connections that ran a statement after they had been given up.
    pub(crate) orphaned: u64,
    /// How long after the last request a statement was last seen running. The clients' side knows that.
    pub(crate) ran_on_ms: u64,
}

/// The accounts of the server's `Scopes`, which count a transaction and its connection as two.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Core {
    pub(crate) acquired: u64,
    pub(crate) released: u64,
    pub(crate) abandoned: u64,
    pub(crate) taken: u64,
    pub(crate) live: u64,
}

impl Stats {
    /// Is everything that a request left behind at its end?
    pub(crate) fn is_settled(&self) -> bool {
        let pool_rests = self.pool.is_none_or(|pool| pool.is_at_rest());
        let database_rests = self.database.is_none_or(|database| database.running == 0);
        self.live == 0 && self.open_scopes == 0 && self.pending_releases == 0 && pool_rests && database_rests
    }

    /// How many of 10 handles can be taken at once, if none is lost.
    pub(crate) fn available(&self) -> u64 {
        self.pool.map_or(10, |pool| pool.size.min(10))
    }
}

impl Pool {
    /// Of the pool itself, and of the books of its connections.
    pub(crate) fn new(status: PoolStatus, books: &Books) -> Pool {
        let connections = books.stats();
        Pool {
            size: status.max_size as u64,
            in_use: status.in_use as u64,
            idle: status.idle as u64,
            in_between: (status.creating + status.ending) as u64,
            waiting: status.waiting as u64,
            opened: connections.acquired,
            closed: connections.released,
            most: books.most(),
        }
    }

    /// Does nobody use it, wait for it or come back to it?
    pub(crate) fn is_at_rest(&self) -> bool {
        self.in_use == 0 && self.in_between == 0 && self.waiting == 0
    }
}
