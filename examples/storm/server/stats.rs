//! The server's counters, as `/stats` reports them.
use serde::{Deserialize, Serialize};

use crate::server::stack::Stack;

/// All counters since the last reset.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stats {
    /// The stack around the handlers.
    pub(crate) stack: Stack,
    /// Handlers that began, on any of the storm's paths.
    pub(crate) requests: u64,
    /// Handles that an acquisition returned.
    pub(crate) acquired: u64,
    /// Handles whose release ended.
    pub(crate) released: u64,
    /// Handles that were dropped without a release, or in it.
    pub(crate) abandoned: u64,
    /// Handles that have not ended.
    pub(crate) live: u64,
    /// Releases of a handle that had been released before.
    pub(crate) double_released: u64,
    /// Uses of a handle after its release.
    pub(crate) used_after_release: u64,
    /// Handles whose release was passed another exit than that of their request.
    pub(crate) wrong_exits: u64,
    /// Transactions that read another request's value.
    pub(crate) crossed: u64,
    /// Answers of the database that belonged to another query.
    pub(crate) wrong_answers: u64,
    /// Transactions that ended in a commit.
    pub(crate) committed: u64,
    /// Rows that exist. There should be one for each commit.
    pub(crate) rows: u64,
    /// Requests whose scope has not ended.
    pub(crate) open_scopes: u64,
    /// Releases that have not ended.
    pub(crate) pending_releases: u64,
    /// Operations that the database refused because of another transaction.
    pub(crate) busy: u64,
    /// The pool under the handlers, if there is one.
    pub(crate) pool: Option<Pool>,
    /// What the database's server was seen to do, if there is a server.
    pub(crate) database: Option<Database>,
    /// Handlers that were cut, by stage.
    pub(crate) cut: Cut,
    /// The counters of reqscope itself. A reset does not touch them.
    pub(crate) core: Core,
}

/// How many handlers were dropped before their end, by the stage they were in.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cut {
    pub(crate) before_first_poll: u64,
    pub(crate) before_first_use: u64,
    pub(crate) acquiring: u64,
    pub(crate) holding: u64,
    pub(crate) transaction: u64,
    pub(crate) body: u64,
}

/// A pool, and the connections that it has opened since the server started. A reset does not touch it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) size: u64,
    pub(crate) in_use: u64,
    pub(crate) idle: u64,
    /// Slots whose connection is being opened or closed.
    pub(crate) opening_or_closing: u64,
    pub(crate) waiting: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    /// The most connections that were open at once.
    pub(crate) peak: u64,
}

/// What the database's server did, according to its own list of connections.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Database {
    /// Connections that were retired in the middle of a statement.
    pub(crate) cut: u64,
    /// KILLs that the server was sent. Each of those connections takes at least one.
    pub(crate) kills: u64,
    /// How often the list was read.
    pub(crate) polls: u64,
    /// Statements of the pool's connections that are running.
    pub(crate) running: u64,
    /// The most of them that ran at once.
    pub(crate) peak: u64,
    /// Connections that ran a statement after they had been retired.
    pub(crate) orphaned: u64,
    /// How long after the last request a statement was last seen running. It is filled in by the clients.
    pub(crate) last_running_ms: u64,
}

/// The counters of the server's `Scopes`, which count a transaction and its connection as two.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Core {
    pub(crate) acquired: u64,
    pub(crate) released: u64,
    pub(crate) abandoned: u64,
    pub(crate) taken: u64,
    pub(crate) live: u64,
}

impl Stats {
    /// Returns whether everything that the requests have left behind has ended.
    pub(crate) fn is_settled(&self) -> bool {
        let pool_rests = self.pool.is_none_or(|pool| pool.is_at_rest());
        let database_rests = self.database.is_none_or(|database| database.running == 0);
        self.live == 0 && self.open_scopes == 0 && self.pending_releases == 0 && pool_rests && database_rests
    }

    /// Returns how many of 10 handles can be acquired at once, if none is lost.
    pub(crate) fn available(&self) -> u64 {
        self.pool.map_or(10, |pool| pool.size.min(10))
    }
}

impl Pool {
    /// Returns whether no connection is in use, awaited, being opened or being closed.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.in_use == 0 && self.opening_or_closing == 0 && self.waiting == 0
    }
}
