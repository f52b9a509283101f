use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use reqscope_hyper::{DisconnectWatch, Listener};
use tokio::io::DuplexStream;

/// The outcome of an accept.
pub(crate) enum Step {
    Accepts(DuplexStream),
    /// Accepts a connection whose watch cannot be created at the first try.
    AcceptsUnwatched(DuplexStream, fn() -> io::Error),
    Fails(fn() -> io::Error),
    /// Fails now and at every further accept.
    FailsAlways(fn() -> io::Error),
}

/// A listener without sockets that follows a script, and waits forever at its end.
pub(crate) struct InMemory {
    steps: VecDeque<Step>,
    accepts: Arc<AtomicU64>,
    unwatched: Mutex<Option<fn() -> io::Error>>,
}

impl InMemory {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        InMemory { steps: steps.into_iter().collect(), accepts: Arc::default(), unwatched: Mutex::default() }
    }

    /// Returns the counter of calls to `accept`.
    pub(crate) fn accepts(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.accepts)
    }
}

impl Listener for InMemory {
    type Io = DuplexStream;
    type Peer = ();

    async fn accept(&mut self) -> io::Result<(DuplexStream, ())> {
        let Some(step) = self.steps.pop_front() else { return pending().await };
        self.accepts.fetch_add(1, Relaxed);
        match step {
            Step::Accepts(io) => Ok((io, ())),
            Step::AcceptsUnwatched(io, error) => {
                *self.unwatched.lock().unwrap() = Some(error);
                Ok((io, ()))
            }
            Step::Fails(error) => Err(error()),
            Step::FailsAlways(error) => {
                self.steps.push_front(Step::FailsAlways(error));
                Err(error())
            }
        }
    }

    fn watch(&self, _io: &DuplexStream, _half_close: bool) -> io::Result<DisconnectWatch> {
        let unwatched = self.unwatched.lock().unwrap().take();
        match unwatched {
            Some(error) => Err(error()),
            None => Ok(DisconnectWatch::never()),
        }
    }
}

pub(crate) fn too_many_files() -> io::Error {
    rustix::io::Errno::MFILE.into()
}
