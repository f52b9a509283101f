// A key-value server with a protocol of lines, for the adapter in `kv.rs` to talk to.
//
// Each connection is greeted with its id. A request is a line, and so is the answer to it: `OK`, a value after it, or
// `ERR` and a text.
//
// ```text
// GET key          SET key number          ECHO text          SLEEP milliseconds          KILL id
// BEGIN            COMMIT                  ROLLBACK           RESET
// ```
//
// A COMMIT is refused with `ERR conflict` if a key that the transaction has read was changed since.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running server. Dropping it ends it.
pub(crate) struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    values: HashMap<String, i64>,
    last_id: u64,
    /// The connections that are open, each of which ends when its sender is dropped.
    open: BTreeMap<u64, watch::Sender<()>>,
    /// What goes wrong, by the command.
    faults: HashMap<&'static str, Fault>,
}

/// What goes wrong with a command.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// It is answered with an error and not executed.
    Refuse,
    /// It is executed, and the connection closed without an answer.
    HangUp,
    /// It is not executed and not answered.
    Freeze,
}

/// The reads and writes of a transaction.
#[derive(Default)]
struct Changes {
    seen: HashMap<String, Option<i64>>,
    written: HashMap<String, i64>,
}

impl Server {
    /// Starts a server on a port of its own.
    pub(crate) async fn start() -> io::Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (port, state) = (listener.local_addr()?.port(), Arc::<Mutex<State>>::default());
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                let (end, ended) = watch::channel(());
                let id = {
                    let mut state = lock(&shared);
                    state.last_id += 1;
                    let id = state.last_id;
                    state.open.insert(id, end);
                    id
                };
                tokio::spawn(connection(stream, id, ended, Arc::clone(&shared)));
            }
        });
        Ok(Server { port, state, accepting })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns how many connections are open.
    pub(crate) fn open(&self) -> usize {
        lock(&self.state).open.len()
    }

    /// Returns what is committed.
    pub(crate) fn value(&self, key: &str) -> Option<i64> {
        lock(&self.state).values.get(key).copied()
    }

    /// Makes this command go wrong from now on.
    pub(crate) fn fail(&self, command: &'static str, fault: impl Into<Option<Fault>>) {
        let faults = &mut lock(&self.state).faults;
        match fault.into() {
            Some(fault) => faults.insert(command, fault),
            None => faults.remove(command),
        };
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        lock(&self.state).open.clear();
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection until its client closes it or it is killed.
async fn connection(stream: TcpStream, id: u64, mut ended: watch::Receiver<()>, state: Arc<Mutex<State>>) {
    let mut serving = Serving { id, stream: BufStream::new(stream), changes: None, state: Arc::clone(&state) };
    tokio::select! {
        _ended = serving.serve() => {}
        _killed = ended.changed() => {}
    }
    drop(serving);
    lock(&state).open.remove(&id);
}

struct Serving {
    id: u64,
    stream: BufStream<TcpStream>,
    changes: Option<Changes>,
    state: Arc<Mutex<State>>,
}

impl Serving {
    async fn serve(&mut self) -> io::Result<()> {
        let mut answer = format!("OK {}\n", self.id);
        let mut line = String::new();
        loop {
            self.stream.write_all(answer.as_bytes()).await?;
            self.stream.flush().await?;
            line.clear();
            // A client that has gone is noticed only here, as by most servers.
            if self.stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let fault = words.first().and_then(|command| lock(&self.state).faults.get(command).copied());
            answer = match fault {
                Some(Fault::Refuse) => "ERR refused".to_owned(),
                Some(Fault::Freeze) => return std::future::pending().await,
                _ => self.execute(&words).await,
            };
            if let Some(Fault::HangUp) = fault {
                return Ok(());
            }
            answer.push('\n');
        }
    }

    async fn execute(&mut self, words: &[&str]) -> String {
        match *words {
            ["GET", key] => self.get(key).map_or("OK".to_owned(), |value| format!("OK {value}")),
            ["SET", key, value] => self.set(key, value),
            ["ECHO", text] => format!("OK {text}"),
            ["SLEEP", time] => {
                tokio::time::sleep(Duration::from_millis(time.parse().unwrap_or(0))).await;
                "OK".to_owned()
            }
            ["KILL", id] => self.kill(id).await,
            ["BEGIN"] if self.changes.is_none() => {
                self.changes = Some(Changes::default());
                "OK".to_owned()
            }
            ["COMMIT"] => self.commit(),
            ["ROLLBACK" | "RESET"] => {
                self.changes = None;
                "OK".to_owned()
            }
            _ => "ERR not understood".to_owned(),
        }
    }

    fn get(&mut self, key: &str) -> Option<i64> {
        let now = lock(&self.state).values.get(key).copied();
        let Some(changes) = &mut self.changes else { return now };
        let seen = *changes.seen.entry(key.to_owned()).or_insert(now);
        changes.written.get(key).copied().or(seen)
    }

    fn set(&mut self, key: &str, value: &str) -> String {
        let Ok(value) = value.parse() else { return "ERR not a number".to_owned() };
        match &mut self.changes {
            Some(changes) => changes.written.insert(key.to_owned(), value),
            None => lock(&self.state).values.insert(key.to_owned(), value),
        };
        "OK".to_owned()
    }

    fn commit(&mut self) -> String {
        let Some(changes) = self.changes.take() else { return "ERR no transaction".to_owned() };
        let mut state = lock(&self.state);
        if changes.seen.iter().any(|(key, seen)| state.values.get(key).copied() != *seen) {
            return "ERR conflict".to_owned();
        }
        state.values.extend(changes.written);
        "OK".to_owned()
    }

    /// Ends another connection, and waits until it has ended.
    async fn kill(&self, id: &str) -> String {
        let Ok(id) = id.parse::<u64>() else { return "ERR not an id".to_owned() };
        if let Some(end) = lock(&self.state).open.get(&id) {
            end.send_replace(());
        }
        while lock(&self.state).open.contains_key(&id) {
            tokio::task::yield_now().await;
        }
        "OK".to_owned()
    }
}
