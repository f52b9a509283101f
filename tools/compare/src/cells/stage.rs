//! The stage of a script: a cell over a source that waits, breaks and logs events.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use reqscope::Exit;
use reqscope_testkit::Gate;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use super::cell::LazyCell;
use super::events::{Event, EventLog, Seen, TrackedHandle};
use super::source::Source;
use crate::faults::steps::{PATIENCE, Unmet, comes_true, message};

/// A source whose acquisitions wait at a gate and are logged.
pub(crate) struct Watched {
    gate: Gate,
    log: EventLog,
    /// Runs in the poll in which the next handle arrives.
    at_arrival: Arc<Mutex<Option<Hook>>>,
}

type Hook = Box<dyn FnOnce() + Send>;

impl Source for Watched {
    type Handle = Arc<TrackedHandle>;
    type Acquire = Pin<Box<dyn Future<Output = Arc<TrackedHandle>> + Send>>;

    fn acquire(&self) -> Self::Acquire {
        let (gate, log, at_arrival) = (self.gate.clone(), self.log.clone(), Arc::clone(&self.at_arrival));
        Box::pin(async move {
            // Dropping the acquisition here drops the attempt, which logs that.
            let attempt = log.begin();
            gate.pass().await.expect("no script has an error");
            let hook = at_arrival.lock().take();
            if let Some(hook) = hook {
                hook();
            }
            attempt.made()
        })
    }

    async fn release(&self, handle: Arc<TrackedHandle>, exit: Exit) {
        self.log.write(Event::Released(handle.number, exit));
    }
}

/// One server and its source.
pub(crate) struct Stage<C: LazyCell> {
    server: Arc<C::Server<Watched>>,
    /// The gate at which acquisitions wait. It is closed at first.
    pub(crate) gate: Gate,
    log: EventLog,
    at_arrival: Arc<Mutex<Option<Hook>>>,
}

impl<C: LazyCell> Stage<C> {
    pub(crate) fn new() -> Self {
        let (gate, log, at_arrival) = (Gate::closed(), EventLog::default(), Arc::default());
        let source = Watched { gate: gate.clone(), log: log.clone(), at_arrival: Arc::clone(&at_arrival) };
        Stage { server: Arc::new(C::serve(Arc::new(source))), gate, log, at_arrival }
    }

    pub(crate) fn open(&self) -> C::Request<Watched> {
        C::open(&self.server)
    }

    /// Returns a caller in this request.
    pub(crate) fn caller(&self, request: &C::Request<Watched>) -> Caller<C> {
        Caller { server: Arc::clone(&self.server), cell: C::cell(request).clone() }
    }

    /// Sets what runs in the poll in which the next handle arrives.
    pub(crate) fn at_arrival(&self, hook: impl FnOnce() + Send + 'static) {
        *self.at_arrival.lock() = Some(Box::new(hook));
    }

    pub(crate) fn seen(&self) -> Seen {
        self.log.seen()
    }

    /// Waits until the condition holds, and returns whether it did.
    pub(crate) async fn comes(&self, condition: impl Fn(&Seen) -> bool) -> bool {
        comes_true(PATIENCE, || condition(&self.seen())).await
    }

    /// Checks at the end of a script that every handle was released exactly once.
    pub(crate) async fn all_back(&self) -> Result<(), Unmet> {
        self.comes(|seen| seen.all_back().is_ok()).await;
        // A second release would come in this time.
        settle().await;
        self.seen().all_back().map_err(Unmet::saw)
    }
}

/// A function of a request, or a task that the request spawned.
pub(crate) struct Caller<C: LazyCell> {
    server: Arc<C::Server<Watched>>,
    cell: C::Cell<Watched>,
}

/// How a use ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// With the handle of this number.
    Served(u64),
    Refused(String),
    Panicked(String),
    Hung,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Use::Served(number) => write!(f, "is served with handle {number}"),
            Use::Refused(why) => write!(f, "is refused: {why}"),
            Use::Panicked(message) => write!(f, "panics: {message}"),
            Use::Hung => write!(f, "hangs, for {PATIENCE:?}"),
        }
    }
}

impl<C: LazyCell> Caller<C> {
    /// Gets the handle, uses it until `done` is ready, and returns the loan.
    pub(crate) async fn work(&self, done: impl Future<Output = ()> + Send) -> Use {
        match C::get(&self.server, &self.cell).await {
            Ok(loan) => {
                let number = C::handle(&loan).number;
                done.await;
                Use::Served(number)
            }
            Err(refused) => Use::Refused(refused.to_string()),
        }
    }

    /// Gets the handle and returns it at once.
    pub(crate) async fn glance(&self) -> Use {
        self.work(std::future::ready(())).await
    }

    /// Does the same in a task of its own.
    pub(crate) fn spawn(self) -> JoinHandle<Use> {
        tokio::spawn(async move { self.glance().await })
    }
}

/// Returns how the use in a task ended.
pub(crate) async fn outcome(mut task: JoinHandle<Use>) -> Use {
    match timeout(PATIENCE, &mut task).await {
        Ok(Ok(used)) => used,
        Ok(Err(error)) => Use::Panicked(message(error.into_panic())),
        Err(_elapsed) => {
            task.abort();
            Use::Hung
        }
    }
}

/// Lets all other tasks run until they wait.
pub(crate) async fn settle() {
    for _ in 0..64 {
        yield_now().await;
    }
}
