//! Asks the server itself what it does for the storm, over a connection of its own.
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
use crate::store::mysql::registry::Register;

/// From one look to the next.
const PACE: Duration = Duration::from_millis(2);

/// How long the last connection may take to vanish from the server's list after it was closed.
const GONE: Duration = Duration::from_millis(500);

/// What a connection does that does nothing, or has said goodbye.
const AT_REST: [&str; 2] = ["Sleep", "Quit"];

pub(crate) struct Lookout {
    register: Arc<Register>,
    seen: Arc<Mutex<Seen>>,
    watch: Mutex<Option<Watch>>,
}

#[derive(Default)]
struct Seen {
    looks: u64,
    /// How many statements ran at the last look, and how many at most.
    running: u64,
    most: u64,
    /// The connections that were found running after they had been given up.
    orphans: HashSet<u64>,
    /// How many KILLs the server had been sent before.
    kills: u64,
}

/// The task that looks.
struct Watch {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Lease<MySql>>>,
}

impl Lookout {
    /// Looks over this connection from now on.
    pub(crate) fn post(conn: Lease<MySql>, register: &Arc<Register>) -> Lookout {
        let (stop, stopped) = oneshot::channel();
        let seen = Arc::default();
        let task = tokio::spawn(watch(conn, Arc::clone(register), Arc::clone(&seen), stopped));
        Lookout { register: Arc::clone(register), seen, watch: Mutex::new(Some(Watch { stop, task })) }
    }

    /// What was seen. The question is asked over another connection, as the watch has its own.
    pub(crate) async fn tell(&self, conn: &mut Lease<MySql>) -> Result<Database> {
        let is_on_watch = self.watch.lock().as_ref().is_some_and(|watch| !watch.task.is_finished());
        ensure!(is_on_watch, "nobody looks at the server any more");
        let kills = kills(conn).await?;
        let Seen { looks, running, most, ref orphans, kills: before } = *self.seen.lock();
        let orphaned = orphans.len() as u64;
        let cut = self.register.cut();
        // Whoever shares the server may set its counters back.
        let kills = kills.saturating_sub(before);
        Ok(Database { cut, kills, looks, running, most, orphaned, ran_on_ms: 0 })
    }

    /// Forgets what was seen.
    pub(crate) async fn forget(&self, conn: &mut Lease<MySql>) -> Result<()> {
        let kills = kills(conn).await?;
        self.register.forget_cut();
        *self.seen.lock() = Seen { kills, ..Seen::default() };
        Ok(())
    }

    /// Looks until no connection of the pool is there; answers how many are all the same, and with the lookout's own.
    pub(crate) async fn relieve(&self) -> Result<(u64, Lease<MySql>)> {
        let watch = self.watch.lock().take();
        let Watch { stop, task } = watch.context("the lookout has gone home before")?;
        drop(stop);
        // Dropped here, the task ends by itself, and its connection with it.
        let mut conn = task.await.context("the lookout panicked")??;
        let begun = Instant::now();
        loop {
            let listed = processlist(&mut conn).await?;
            let left = listed.iter().filter(|(number, _)| self.register.knows(*number)).count() as u64;
            if left == 0 || begun.elapsed() > GONE {
                return Ok((left, conn));
            }
            sleep(PACE).await;
        }
    }
}

async fn watch(
    mut conn: Lease<MySql>,
    register: Arc<Register>,
    seen: Arc<Mutex<Seen>>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Lease<MySql>> {
    loop {
        select! {
            _ = &mut stopped => return Ok(conn),
            () = sleep(PACE) => look(&mut conn, &register, &seen).await?,
        }
    }
}

async fn look(conn: &mut Lease<MySql>, register: &Register, seen: &Mutex<Seen>) -> Result<()> {
    let asked = Instant::now();
    let mut running = processlist(conn).await?;
    running.retain(|(number, command)| !AT_REST.contains(&command.as_str()) && register.knows(*number));
    let mut seen = seen.lock();
    seen.looks += 1;
    seen.running = running.len() as u64;
    seen.most = seen.most.max(seen.running);
    seen.orphans.extend(running.iter().map(|(number, _)| number).filter(|it| register.had_given_up(**it, asked)));
    Ok(())
}

/// Every connection to the server that this user may see: its number, and what it does.
async fn processlist(conn: &mut Lease<MySql>) -> Result<Vec<(u64, String)>, MySqlError> {
    Ok(conn.query("SELECT id, command FROM information_schema.processlist").await?)
}

/// How many KILLs the server has been sent, by whomever.
async fn kills(conn: &mut Lease<MySql>) -> Result<u64> {
    let answer: Option<(String, u64)> =
        conn.query_first("SHOW GLOBAL STATUS LIKE 'Com_kill'").await.map_err(MySqlError::from)?;
    Ok(answer.context("the server counts no KILLs")?.1)
}
