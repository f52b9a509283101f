use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::time::{Instant, timeout};

use crate::MySqlError;
use crate::connect::{Connected, reconnect};
use crate::server::ServerInstance;
use crate::settings::HOUSEKEEPING_TIMEOUT;

/// `Unknown thread id`: the connection has gone.
const UNKNOWN_THREAD: u16 = 1094;

/// How long the server may take to let go. MariaDB 10.11 takes 2 s for one of several that are in `SLEEP` (its KILL waits for a lock
/// that they share); below the 5 s of a release in a scope or a pool.
const KILL_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that nothing is ever asked over but to stop others: one for each server.
///
/// It is opened before the first handle is lent, so that a server whose connections are used up can still be told to stop
/// something.
pub(crate) struct ControlConnection {
    server: ServerInstance,
    opts: Opts,
    /// Taken out while it is used: a kill that is cut takes it along, and the next one makes another.
    conn: tokio::sync::Mutex<Option<Live>>,
    was_open: AtomicBool,
}

struct Live {
    conn: Conn,
    /// Its own number. Numbers grow for as long as the server runs.
    id: u64,
    at: Instant,
}

impl ControlConnection {
    /// To the server of this connection. Opens nothing yet.
    fn new(connected: &Connected) -> ControlConnection {
        // Not what the caller asks of each session: this one only kills. The server must not close it for being idle.
        let opts = OptsBuilder::from_opts(connected.opts.clone())
            .setup(Vec::<String>::new())
            .init(vec!["SET SESSION wait_timeout = 31536000"]);
        ControlConnection {
            server: connected.info.server.clone(),
            opts: opts.into(),
            conn: tokio::sync::Mutex::default(),
            was_open: AtomicBool::new(false),
        }
    }

    /// Makes sure that it works: asked again if it was last known to be alive some time ago.
    ///
    /// # Errors
    ///
    /// If it is not alive and cannot be made anew. Where a load balancer leads to another server each time, there is none,
    /// and that is an error only once something has to be stopped.
    async fn ensure_alive(&self) -> Result<(), MySqlError> {
        let mut kept = match self.conn.try_lock() {
            Ok(kept) => kept,
            // Somebody stops a statement with it, which may take the server 2 s: a new handle need not wait for that.
            Err(_in_use) if self.was_open.load(Relaxed) => return Ok(()),
            // Somebody opens it.
            Err(_in_use) => self.conn.lock().await,
        };
        if let Some(mut live) = kept.take() {
            if live.at.elapsed() < Duration::from_secs(30) {
                *kept = Some(live);
                return Ok(());
            }
            // Dropped here, the connection goes with us; the next one makes another.
            if let Ok(Ok(())) = timeout(HOUSEKEEPING_TIMEOUT, live.conn.ping()).await {
                *kept = Some(Live { at: Instant::now(), ..live });
                return Ok(());
            }
        }
        if let Opened::SameServer(live) = self.open().await? {
            *kept = Some(live);
            self.was_open.store(true, Relaxed);
        }
        Ok(())
    }

    /// A new one. Behind a load balancer the first may lead elsewhere, and the next one not.
    async fn open(&self) -> Result<Opened, MySqlError> {
        for _attempt in 0..3 {
            let Connected { conn, info, .. } = reconnect(&self.opts, HOUSEKEEPING_TIMEOUT).await?;
            if info.server == self.server {
                return Ok(Opened::SameServer(Live { conn, id: info.id, at: Instant::now() }));
            }
            if info.server.is_restart_of(&self.server) {
                return Ok(Opened::Restarted);
            }
        }
        Ok(Opened::OtherServer)
    }

    /// Stops the connection with this number, unless the server has closed it and is about to end it anyway, and waits until the
    /// server has let go of it.
    ///
    /// # Errors
    ///
    /// If the server cannot be told, even over a connection made anew, or has not let go after three seconds.
    ///
    /// # Cancel safety
    ///
    /// The server may have been told.
    pub(crate) async fn kill(&self, id: u64, was_closed: bool) -> Result<(), MySqlError> {
        let gone = async {
            // What the server has closed is on its way out already.
            let mut command = if was_closed { Command::Check } else { Command::Kill };
            let mut pause = Duration::from_millis(1);
            loop {
                // A KILL of what another one has just woken may hold up MariaDB for seconds.
                command = match self.send(command, id).await? {
                    ThreadState::Gone => return Ok(()),
                    ThreadState::Killed => Command::Check,
                    ThreadState::Unknown => Command::Kill,
                };
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(20));
            }
        };
        let outcome: Result<(), MySqlError> = match timeout(KILL_TIMEOUT, gone).await {
            Ok(outcome) => outcome,
            Err(_late) => Err(MySqlError::TimedOut { what: "stopping a statement", after: KILL_TIMEOUT }),
        };
        outcome.map_err(|cause| MySqlError::NotStopped(Box::new(cause)))
    }

    /// What is there of this connection? Over a new connection if the one that is kept has died.
    async fn send(&self, command: Command, id: u64) -> Result<ThreadState, MySqlError> {
        let mut kept = self.conn.lock().await;
        if let Some(live) = kept.take() {
            // Dropped here, the connection goes with us.
            if let Ok(Ok((live, state))) = timeout(HOUSEKEEPING_TIMEOUT, send_over(live, command, id)).await {
                *kept = Some(live);
                return Ok(state);
            }
        }
        let live = match self.open().await? {
            // A lower number than one from before: the server was stopped and started within a second.
            Opened::SameServer(live) if live.id < id => return Ok(ThreadState::Gone),
            Opened::SameServer(live) => live,
            // Whatever ran there has ended with it.
            Opened::Restarted => return Ok(ThreadState::Gone),
            Opened::OtherServer => return Err(MySqlError::Elsewhere),
        };
        let (live, state) = send_over(live, command, id).await?;
        *kept = Some(live);
        Ok(state)
    }
}

enum Opened {
    SameServer(Live),
    Restarted,
    OtherServer,
}

/// What is done about a connection.
#[derive(Clone, Copy)]
enum Command {
    Kill,
    Check,
}

enum ThreadState {
    Unknown,
    /// It was told to stop.
    Killed,
    Gone,
}

async fn send_over(mut live: Live, command: Command, id: u64) -> Result<(Live, ThreadState), MySqlError> {
    let state = match command {
        Command::Kill => match live.conn.query_drop(format!("KILL {id}")).await {
            Ok(()) => ThreadState::Killed,
            Err(mysql_async::Error::Server(error)) if error.code == UNKNOWN_THREAD => ThreadState::Gone,
            Err(error) => return Err(error.into()),
        },
        Command::Check => {
            let asked = format!("SELECT command FROM information_schema.processlist WHERE id = {id}");
            match live.conn.query_first::<String, _>(asked).await?.as_deref() {
                Some("Killed") => ThreadState::Killed,
                // One without a socket is not listed any more, and may yet roll back: only a KILL tells.
                Some(_) | None => ThreadState::Unknown,
            }
        }
    };
    live.at = Instant::now();
    Ok((live, state))
}

/// The control connections of one resource.
#[derive(Default)]
pub(crate) struct ControlConnections {
    known: Mutex<Vec<Arc<ControlConnection>>>,
}

impl ControlConnections {
    /// The one to the server of this connection, alive.
    ///
    /// # Errors
    ///
    /// If it cannot be made: then no handle of that server may be lent.
    pub(crate) async fn of(&self, connected: &Connected) -> Result<Arc<ControlConnection>, MySqlError> {
        let control = self.find_or_add(connected);
        control.ensure_alive().await?;
        Ok(control)
    }

    fn find_or_add(&self, connected: &Connected) -> Arc<ControlConnection> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(control) = known.iter().find(|control| control.server == connected.info.server) {
            return Arc::clone(control);
        }
        // Of a server that has been left nobody has a handle any more: its connection goes too.
        let (used, left) = known.drain(..).partition::<Vec<_>, _>(|control| Arc::strong_count(control) > 1);
        *known = used;
        let control = Arc::new(ControlConnection::new(connected));
        known.push(Arc::clone(&control));
        drop(known);
        drop(left);
        control
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_new_handle_does_not_wait_for_a_statement_to_be_stopped() {
        let control = ControlConnection {
            server: ServerInstance::default(),
            opts: Opts::default(),
            conn: tokio::sync::Mutex::default(),
            was_open: AtomicBool::new(false),
        };
        let in_use = control.conn.try_lock().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(control.ensure_alive()).poll(&mut cx).is_pending(), "somebody may be opening it");
        control.was_open.store(true, Relaxed);
        assert!(matches!(pin!(control.ensure_alive()).poll(&mut cx), Poll::Ready(Ok(()))));
        drop(in_use);
    }
}
