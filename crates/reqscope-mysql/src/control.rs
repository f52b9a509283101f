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

/// `Unknown thread id`: the server has ended the connection.
const UNKNOWN_THREAD: u16 = 1094;

/// How long the server may take to end a killed connection. MariaDB 10.11 takes 2 s for one of several that are in
/// `SLEEP` (its KILL waits for a lock that they share). Below the 5 s of a release in a scope or a pool.
const KILL_TIMEOUT: Duration = Duration::from_secs(3);

/// The control connection to one server, used only to stop other connections.
///
/// It is opened before the first handle is lent, so that statements can be stopped on a server whose connections are
/// used up.
pub(crate) struct ControlConnection {
    server: ServerInstance,
    opts: Opts,
    /// Taken out while it is used: a `kill` that is dropped drops it too, and the next one opens another.
    conn: tokio::sync::Mutex<Option<Live>>,
    was_open: AtomicBool,
}

/// An open control connection.
struct Live {
    conn: Conn,
    /// Its own id. Ids grow as long as the server runs.
    id: u64,
    /// When it was last known to be alive.
    at: Instant,
}

impl ControlConnection {
    /// Creates the control connection to the server of `connected`. Opens nothing yet.
    fn new(connected: &Connected) -> ControlConnection {
        // Without the user's setup, because this connection only kills. The server must not close it when it is idle.
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

    /// Makes sure that it is alive: pings it if it was last used some time ago, and opens it anew if necessary.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not alive and cannot be opened. If a load balancer leads to another server each time,
    /// there is no control connection; that becomes an error only when a statement has to be stopped.
    async fn ensure_alive(&self) -> Result<(), MySqlError> {
        let mut kept = match self.conn.try_lock() {
            Ok(kept) => kept,
            // In use to stop a statement, which may take the server 2 s; a new handle need not wait for that.
            Err(_in_use) if self.was_open.load(Relaxed) => return Ok(()),
            // Being opened for the first time.
            Err(_in_use) => self.conn.lock().await,
        };
        if let Some(mut live) = kept.take() {
            if live.at.elapsed() < Duration::from_secs(30) {
                *kept = Some(live);
                return Ok(());
            }
            // If this is dropped here, the connection is dropped too; the next caller opens another one.
            if let Ok(Ok(())) = timeout(HOUSEKEEPING_TIMEOUT, live.conn.ping()).await {
                *kept = Some(Live { at: Instant::now(), ..live });
                return Ok(());
            }
        }
        if let Opened::SameServer(live) = self.open(Target::Unknown).await? {
            *kept = Some(live);
            self.was_open.store(true, Relaxed);
        }
        Ok(())
    }

    /// Opens a connection. Behind a load balancer, the first attempt may lead to another server and the next one not.
    async fn open(&self, target: Target) -> Result<Opened, MySqlError> {
        for _attempt in 0..3 {
            let Connected { mut conn, info, .. } = reconnect(&self.opts, HOUSEKEEPING_TIMEOUT).await?;
            let is_same = match target {
                _ if info.server == self.server => true,
                Target::Unknown => false,
                Target::Alive => self.server.was_moved(&info.server, &mut conn).await?,
            };
            if is_same {
                return Ok(Opened::SameServer(Live { conn, id: info.id, at: Instant::now() }));
            }
        }
        Ok(Opened::OtherServer)
    }

    /// Kills the connection with this id, unless the server has closed it and is about to end it anyway, and waits
    /// until the server has ended it.
    ///
    /// # Errors
    ///
    /// Returns an error if the KILL cannot be sent, even over a new connection, or the server has not ended the
    /// connection after three seconds.
    ///
    /// # Cancel safety
    ///
    /// The KILL may have been sent.
    pub(crate) async fn kill(&self, id: u64, was_closed: bool, target: Target) -> Result<(), MySqlError> {
        let gone = async {
            // A connection that the server has closed is about to end already.
            let mut command = if was_closed { Command::Check } else { Command::Kill };
            let mut pause = Duration::from_millis(1);
            loop {
                // A second KILL of a connection that has just been woken may delay MariaDB for seconds.
                command = match self.send(command, id, target).await? {
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

    /// Runs a command and returns the state of its target; opens a new connection if the kept one is dead.
    async fn send(&self, command: Command, id: u64, target: Target) -> Result<ThreadState, MySqlError> {
        let mut kept = self.conn.lock().await;
        if let Some(live) = kept.take() {
            // If this is dropped here, the connection is dropped too.
            if let Ok(Ok((live, state))) = timeout(HOUSEKEEPING_TIMEOUT, send_over(live, command, id)).await {
                *kept = Some(live);
                return Ok(state);
            }
        }
        let live = match self.open(target).await? {
            // Ids grow while a server runs, so a lower id means that it was restarted within the same second.
            Opened::SameServer(live) if live.id < id => return Ok(ThreadState::Gone),
            Opened::SameServer(live) => live,
            Opened::OtherServer => return Err(MySqlError::Elsewhere),
        };
        let (live, state) = send_over(live, command, id).await?;
        *kept = Some(live);
        Ok(state)
    }
}

/// The result of opening a control connection.
enum Opened {
    SameServer(Live),
    /// Or the same one, restarted.
    OtherServer,
}

/// What is known of the connection that is to be killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// It may have ended with its server, which was restarted since.
    Unknown,
    /// It was alive a moment ago, so its server was not restarted.
    Alive,
}

/// What to do with a connection on the server.
#[derive(Clone, Copy)]
enum Command {
    Kill,
    Check,
}

/// What is known of a connection on the server, which MySQL calls a thread.
enum ThreadState {
    Unknown,
    /// The KILL was accepted, and the connection has not ended yet.
    Killed,
    Gone,
}

/// Runs a command over a control connection, and returns the connection with the state of the target.
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
                // A connection without a socket is not listed any more but may still roll back; only a KILL shows it.
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
    /// Returns the live control connection to the server of `connected`.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be opened: then no handle of that server may be lent.
    pub(crate) async fn of(&self, connected: &Connected) -> Result<Arc<ControlConnection>, MySqlError> {
        let control = self.find_or_add(connected);
        control.ensure_alive().await?;
        Ok(control)
    }

    /// Finds or adds the control connection to this server, and removes those without handles.
    fn find_or_add(&self, connected: &Connected) -> Arc<ControlConnection> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(control) = known.iter().find(|control| control.server == connected.info.server) {
            return Arc::clone(control);
        }
        // The control connection of a server to which no handle is left is closed.
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
    fn new_handle_does_not_wait_while_a_statement_is_stopped() {
        let control = ControlConnection {
            server: ServerInstance::default(),
            opts: Opts::default(),
            conn: tokio::sync::Mutex::default(),
            was_open: AtomicBool::new(false),
        };
        let in_use = control.conn.try_lock().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(control.ensure_alive()).poll(&mut cx).is_pending(), "another task may be opening it");
        control.was_open.store(true, Relaxed);
        assert!(matches!(pin!(control.ensure_alive()).poll(&mut cx), Poll::Ready(Ok(()))));
        drop(in_use);
    }
}
