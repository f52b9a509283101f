use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::time::{Instant, timeout};

use crate::MySqlError;
use crate::connect::{Connected, connect_again};
use crate::server::Server;
use crate::settings::SIDE_TIMEOUT;

/// `Unknown thread id`: the connection has gone.
const UNKNOWN_THREAD: u16 = 1094;

/// How long the server may take to let go. MariaDB 10.11 takes 2 s for one of several that are in `SLEEP` (its KILL waits for a lock
/// that they share); below the 5 s of a release in a scope or a pool.
const KILL_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that nothing is ever asked over but to stop others: one for each server.
///
/// It is opened before the first handle is lent, so that a server whose connections are used up can still be told to stop
/// something.
pub(crate) struct Side {
    server: Server,
    place: Opts,
    /// Taken out while it is used: a kill that is cut takes it along, and the next one makes another.
    conn: tokio::sync::Mutex<Option<Proved>>,
    was_open: AtomicBool,
}

struct Proved {
    conn: Conn,
    /// Its own number. Numbers grow for as long as the server runs.
    id: u64,
    at: Instant,
}

impl Side {
    /// To the server of this connection. Opens nothing yet.
    fn new(connected: &Connected) -> Side {
        // Not what the caller asks of each session: this one only kills. The server must not close it for being idle.
        let place = OptsBuilder::from_opts(connected.place.clone())
            .setup(Vec::<String>::new())
            .init(vec!["SET SESSION wait_timeout = 31536000"]);
        Side {
            server: connected.introduction.server.clone(),
            place: place.into(),
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
    async fn prove(&self) -> Result<(), MySqlError> {
        let mut kept = match self.conn.try_lock() {
            Ok(kept) => kept,
            // Somebody stops a statement with it, which may take the server 2 s: a new handle need not wait for that.
            Err(_in_use) if self.was_open.load(Relaxed) => return Ok(()),
            // Somebody opens it.
            Err(_in_use) => self.conn.lock().await,
        };
        if let Some(mut proved) = kept.take() {
            if proved.at.elapsed() < Duration::from_secs(30) {
                *kept = Some(proved);
                return Ok(());
            }
            // Dropped here, the connection goes with us; the next one makes another.
            if let Ok(Ok(())) = timeout(SIDE_TIMEOUT, proved.conn.ping()).await {
                *kept = Some(Proved { at: Instant::now(), ..proved });
                return Ok(());
            }
        }
        if let Opened::Here(proved) = self.open().await? {
            *kept = Some(proved);
            self.was_open.store(true, Relaxed);
        }
        Ok(())
    }

    /// A new one. Behind a load balancer the first may lead elsewhere, and the next one not.
    async fn open(&self) -> Result<Opened, MySqlError> {
        for _attempt in 0..3 {
            let Connected { conn, introduction, .. } = connect_again(&self.place, SIDE_TIMEOUT).await?;
            if introduction.server == self.server {
                return Ok(Opened::Here(Proved { conn, id: introduction.id, at: Instant::now() }));
            }
            if introduction.server.is_restart_of(&self.server) {
                return Ok(Opened::Restarted);
            }
        }
        Ok(Opened::Elsewhere)
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
            let mut word = if was_closed { Word::Look } else { Word::Stop };
            let mut pause = Duration::from_millis(1);
            loop {
                // A KILL of what another one has just woken may hold up MariaDB for seconds.
                word = match self.tell(word, id).await? {
                    Seen::Gone => return Ok(()),
                    Seen::Dying => Word::Look,
                    Seen::Unsure => Word::Stop,
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
    async fn tell(&self, word: Word, id: u64) -> Result<Seen, MySqlError> {
        let mut kept = self.conn.lock().await;
        if let Some(proved) = kept.take() {
            // Dropped here, the connection goes with us.
            if let Ok(Ok((proved, seen))) = timeout(SIDE_TIMEOUT, tell(proved, word, id)).await {
                *kept = Some(proved);
                return Ok(seen);
            }
        }
        let made = match self.open().await? {
            // A lower number than one from before: the server was stopped and started within a second.
            Opened::Here(made) if made.id < id => return Ok(Seen::Gone),
            Opened::Here(made) => made,
            // Whatever ran there has ended with it.
            Opened::Restarted => return Ok(Seen::Gone),
            Opened::Elsewhere => return Err(MySqlError::Elsewhere),
        };
        let (made, seen) = tell(made, word, id).await?;
        *kept = Some(made);
        Ok(seen)
    }
}

enum Opened {
    Here(Proved),
    Restarted,
    Elsewhere,
}

/// What is done about a connection.
#[derive(Clone, Copy)]
enum Word {
    Stop,
    Look,
}

enum Seen {
    Unsure,
    /// It was told to stop.
    Dying,
    Gone,
}

async fn tell(mut side: Proved, word: Word, id: u64) -> Result<(Proved, Seen), MySqlError> {
    let seen = match word {
        Word::Stop => match side.conn.query_drop(format!("KILL {id}")).await {
            Ok(()) => Seen::Dying,
            Err(mysql_async::Error::Server(error)) if error.code == UNKNOWN_THREAD => Seen::Gone,
            Err(error) => return Err(error.into()),
        },
        Word::Look => {
            let asked = format!("SELECT command FROM information_schema.processlist WHERE id = {id}");
            match side.conn.query_first::<String, _>(asked).await?.as_deref() {
                Some("Killed") => Seen::Dying,
                // One without a socket is not listed any more, and may yet roll back: only a KILL tells.
                Some(_) | None => Seen::Unsure,
            }
        }
    };
    side.at = Instant::now();
    Ok((side, seen))
}

/// The side connections of one resource.
#[derive(Default)]
pub(crate) struct Sides {
    known: Mutex<Vec<Arc<Side>>>,
}

impl Sides {
    /// The one to the server of this connection, alive.
    ///
    /// # Errors
    ///
    /// If it cannot be made: then no handle of that server may be lent.
    pub(crate) async fn of(&self, connected: &Connected) -> Result<Arc<Side>, MySqlError> {
        let side = self.find_or_add(connected);
        side.prove().await?;
        Ok(side)
    }

    fn find_or_add(&self, connected: &Connected) -> Arc<Side> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(side) = known.iter().find(|side| side.server == connected.introduction.server) {
            return Arc::clone(side);
        }
        // Of a server that has been left nobody has a handle any more: its connection goes too.
        let (used, left) = known.drain(..).partition::<Vec<_>, _>(|side| Arc::strong_count(side) > 1);
        *known = used;
        let side = Arc::new(Side::new(connected));
        known.push(Arc::clone(&side));
        drop(known);
        drop(left);
        side
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_new_handle_does_not_wait_for_a_statement_to_be_stopped() {
        let side = Side {
            server: Server::default(),
            place: Opts::default(),
            conn: tokio::sync::Mutex::default(),
            was_open: AtomicBool::new(false),
        };
        let in_use = side.conn.try_lock().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(side.prove()).poll(&mut cx).is_pending(), "somebody may be opening it");
        side.was_open.store(true, Relaxed);
        assert!(matches!(pin!(side.prove()).poll(&mut cx), Poll::Ready(Ok(()))));
        drop(in_use);
    }
}
