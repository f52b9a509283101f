//! The paths that the storm itself requests, before and after the clients. They have no scope.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result};
use futures_util::future::join_all;
use hyper::{Method, Response, StatusCode};
use reqscope::{Lease, Scopes};
use serde_json::json;
use tokio::time::timeout;

use crate::server::accounting::Accounting;
use crate::server::handlers::{Body, Handlers, respond};
use crate::server::stats::{Core, Stats};
use crate::store::{Store, Tags};

/// Answers those paths.
pub(crate) struct Control<S> {
    pub(crate) handlers: Arc<Handlers<S>>,
    pub(crate) accounting: Arc<Accounting>,
    pub(crate) scopes: Scopes,
}

impl<S> Control<S> {
    /// All of these paths, with their methods.
    pub(crate) const PATHS: [(Method, &str); 4] =
        [(Method::GET, "/probe"), (Method::GET, "/stats"), (Method::GET, "/tags"), (Method::POST, "/reset")];

    /// Returns whether the request is for one of these paths.
    pub(crate) fn has(method: &Method, path: &str) -> bool {
        Self::PATHS.iter().any(|known| *known == (method.clone(), path))
    }
}

impl<S: Store> Control<S> {
    pub(crate) async fn answer(&self, path: &str) -> Response<Body> {
        let answer = match path {
            "/probe" => self.probe().await,
            "/stats" => self.stats().await,
            "/tags" => self.tags().await,
            "/reset" => self.reset().await,
            _ => return respond(StatusCode::NOT_FOUND, "no such path"),
        };
        match answer {
            Ok(json) => respond(StatusCode::OK, json),
            Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
        }
    }

    /// Counts how many of 10 handles can be acquired at once and answer within a second.
    async fn probe(&self) -> Result<String> {
        let lease = async || {
            let mut lease = Lease::acquire_in(self.scopes.reaper(), self.handlers.store.singles()).await?;
            lease.using().read().await?;
            anyhow::Ok(lease)
        };
        // All of them are held until the last one has answered or a second has passed.
        let leases = join_all((0..10).map(|_| timeout(Duration::from_secs(1), lease()))).await;
        let taken: Vec<_> = leases.into_iter().flatten().flatten().collect();
        let count = taken.len();
        for released in join_all(taken.into_iter().map(Lease::complete)).await {
            released.map_err(Error::from)?;
        }
        Ok(json!({ "taken": count }).to_string())
    }

    async fn stats(&self) -> Result<String> {
        let rows = self.handlers.store.rows().await?;
        let scopes = self.scopes.stats();
        let reqscope::stats::Stats { acquired, released, abandoned, taken, live, .. } = scopes;
        let core = Core { acquired, released, abandoned, taken, live };
        let (open_scopes, pending_releases) = (scopes.open_scopes, scopes.pending_releases);
        let (stack, pool) = (self.handlers.settings.stack, self.handlers.store.pool());
        let database = self.handlers.store.database().await?;
        let counters = self.accounting.counters().stats();
        let stats = Stats { stack, rows, open_scopes, pending_releases, pool, database, core, ..counters };
        Ok(serde_json::to_string(&stats)?)
    }

    /// Lists the tags in the rows, to be compared with those that the clients were promised.
    async fn tags(&self) -> Result<String> {
        Ok(serde_json::to_string(&self.handlers.store.tags().await?)?)
    }

    /// Removes all rows and resets the counters.
    async fn reset(&self) -> Result<String> {
        self.handlers.store.clear().await?;
        self.accounting.reset();
        Ok(json!({}).to_string())
    }
}

impl<S> Clone for Control<S> {
    fn clone(&self) -> Self {
        Control {
            handlers: Arc::clone(&self.handlers),
            accounting: Arc::clone(&self.accounting),
            scopes: self.scopes.clone(),
        }
    }
}
