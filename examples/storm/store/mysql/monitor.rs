//! Polls the server's own list of connections, to see which statements it runs for the storm.
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use reqscope::Lease;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlError};
use tokio::select;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::server::stats::Database;
use crate::store::mysql::registry::Registry;

/// The time between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// How long the last connection may take to vanish from the server's list after it was closed.
const VANISH_TIMEOUT: Duration = Duration::from_millis(500);

/// The commands of a connection that runs no statement.
const AT_REST: [&str; 2] = ["Sleep", "Quit"];

/// A task that polls the server, and what it has seen so far.
pub(crate) struct Monitor {
    registry: Arc<Registry>,
    observed: Arc<Mutex<Observed>>,
    task: Mutex<Option<MonitorTask>>,
}

#[derive(Default)]
struct Observed {
    polls: u64,
    /// How many statements ran at the last poll.
    running: u64,
    /// The most statements that ran at one poll.
    peak: u64,
    /// The connections that ran a statement after they had been retired.
    orphans: HashSet<u64>,
    /// How many KILLs the server had been sent before the last reset.
    kills: u64,
}

/// The task, which returns its connection when it is stopped.
struct MonitorTask {
    stop: oneshot::Sender<()>,
    handle: JoinHandle<Result<Lease<MySql>>>,
}

impl Monitor {
    /// Starts to poll over this connection.
    pub(crate) fn start(conn: Lease<MySql>, registry: &Arc<Registry>) -> Monitor {
        let (stop, stopped) = oneshot::channel();
        let observed = Arc::default();
        let handle = tokio::spawn(run(conn, Arc::clone(registry), Arc::clone(&observed), stopped));
        Monitor { registry: Arc::clone(registry), observed, task: Mutex::new(Some(MonitorTask { stop, handle })) }
    }

    /// Returns what was observed. `conn` is another connection than that of the task.
    pub(crate) async fn report(&self, conn: &mut Lease<MySql>) -> Result<Database> {
        let is_running = self.task.lock().as_ref().is_some_and(|task| !task.handle.is_finished());
        ensure!(is_running, "the monitor has ended");
        let kills = kills(conn).await?;
        let Observed { polls, running, peak, ref orphans, kills: before } = *self.observed.lock();
        let orphaned = orphans.len() as u64;
        let cut = self.registry.cut();
        // Another user of the server may reset its counters.
        let kills = kills.saturating_sub(before);
        Ok(Database { cut, kills, polls, running, peak, orphaned, last_running_ms: 0 })
    }

    /// Discards what was observed.
    pub(crate) async fn reset(&self, conn: &mut Lease<MySql>) -> Result<()> {
        let kills = kills(conn).await?;
        self.registry.reset_cut();
        *self.observed.lock() = Observed { kills, ..Observed::default() };
        Ok(())
    }

    /// Stops the task, and waits until the server lists no connection of the pool any more.
    ///
    /// Returns how many are still listed after [`VANISH_TIMEOUT`], and the connection of the task.
    pub(crate) async fn stop(&self) -> Result<(u64, Lease<MySql>)> {
        let task = self.task.lock().take();
        let MonitorTask { stop, handle } = task.context("the monitor has been stopped before")?;
        drop(stop);
        // Dropped here, the task ends by itself, and its connection with it.
        let mut conn = handle.await.context("the monitor panicked")??;
        let begun = Instant::now();
        loop {
            let listed = processlist(&mut conn).await?;
            let left = listed.iter().filter(|(number, _)| self.registry.knows(*number)).count() as u64;
            if left == 0 || begun.elapsed() > VANISH_TIMEOUT {
                return Ok((left, conn));
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// Polls until `stopped` is ready.
async fn run(
    mut conn: Lease<MySql>,
    registry: Arc<Registry>,
    observed: Arc<Mutex<Observed>>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Lease<MySql>> {
    loop {
        select! {
            _ = &mut stopped => return Ok(conn),
            () = sleep(POLL_INTERVAL) => poll(&mut conn, &registry, &observed).await?,
        }
    }
}

async fn poll(conn: &mut Lease<MySql>, registry: &Registry, observed: &Mutex<Observed>) -> Result<()> {
    let asked = Instant::now();
    let mut running = processlist(conn).await?;
    running.retain(|(number, command)| !AT_REST.contains(&command.as_str()) && registry.knows(*number));
    let mut observed = observed.lock();
    observed.polls += 1;
    observed.running = running.len() as u64;
    observed.peak = observed.peak.max(observed.running);
    observed.orphans.extend(running.iter().map(|(number, _)| number).filter(|it| registry.was_retired(**it, asked)));
    Ok(())
}

/// Lists the connections to the server that this user may see, with their numbers and commands.
async fn processlist(conn: &mut Lease<MySql>) -> Result<Vec<(u64, String)>, MySqlError> {
    Ok(conn.query("SELECT id, command FROM information_schema.processlist").await?)
}

/// Returns how many KILLs the server has been sent, by all of its users.
async fn kills(conn: &mut Lease<MySql>) -> Result<u64> {
    let answer: Option<(String, u64)> =
        conn.query_first("SHOW GLOBAL STATUS LIKE 'Com_kill'").await.map_err(MySqlError::from)?;
    Ok(answer.context("the server counts no KILLs")?.1)
}
