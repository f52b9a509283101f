//! Where a script is played: a cell over a source that waits, breaks and writes down what happens to it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use reqscope::Exit;
use reqscope_testkit::Gate;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use super::books::{Books, Event, Held, Seen};
use super::cell::LazyCell;
use super::source::Source;
use crate::faults::steps::{PATIENCE, Unmet, comes_true, message};

/// A source whose acquisitions wait at a gate, and are on the books.
pub(crate) struct Watched {
    gate: Gate,
    books: Books,
    /// What happens in the very poll in which the next object arrives.
    at_arrival: Arc<Mutex<Option<Hook>>>,
}

type Hook = Box<dyn FnOnce() + Send>;

impl Source for Watched {
    type Object = Arc<Held>;
    type Acquire = Pin<Box<dyn Future<Output = Arc<Held>> + Send>>;

    fn acquire(&self) -> Self::Acquire {
        let (gate, books, at_arrival) = (self.gate.clone(), self.books.clone(), Arc::clone(&self.at_arrival));
        Box::pin(async move {
            // Whoever drops it here drops the attempt, which says so.
            let attempt = books.begin();
            gate.pass().await.expect("no script has an error");
            let hook = at_arrival.lock().take();
            if let Some(hook) = hook {
                hook();
            }
            attempt.made()
        })
    }

    async fn release(&self, object: Arc<Held>, exit: Exit) {
        self.books.write(Event::Told(object.number, exit));
    }
}

/// One server and its source.
pub(crate) struct Stage<C: LazyCell> {
    server: Arc<C::Server<Watched>>,
    /// Where the acquisitions wait; it is closed.
    pub(crate) gate: Gate,
    books: Books,
    at_arrival: Arc<Mutex<Option<Hook>>>,
}

impl<C: LazyCell> Stage<C> {
    pub(crate) fn new() -> Self {
        let (gate, books, at_arrival) = (Gate::closed(), Books::default(), Arc::default());
        let source = Watched { gate: gate.clone(), books: books.clone(), at_arrival: Arc::clone(&at_arrival) };
        Stage { server: Arc::new(C::serve(Arc::new(source))), gate, books, at_arrival }
    }

    pub(crate) fn open(&self) -> C::Request<Watched> {
        C::open(&self.server)
    }

    pub(crate) fn user(&self, request: &C::Request<Watched>) -> User<C> {
        User { server: Arc::clone(&self.server), handle: C::handle(request).clone() }
    }

    pub(crate) fn at_arrival(&self, hook: impl FnOnce() + Send + 'static) {
        *self.at_arrival.lock() = Some(Box::new(hook));
    }

    pub(crate) fn seen(&self) -> Seen {
        self.books.seen()
    }

    /// Waits until this is so; says whether that came.
    pub(crate) async fn comes(&self, condition: impl Fn(&Seen) -> bool) -> bool {
        comes_true(PATIENCE, || condition(&self.seen())).await
    }

    /// At the end of a script, when everybody has left: everything is back, exactly once.
    pub(crate) async fn all_back(&self) -> Result<(), Unmet> {
        self.comes(|seen| seen.all_back().is_ok()).await;
        // Time for whoever would give it back once more.
        settle().await;
        self.seen().all_back().map_err(Unmet::saw)
    }
}

/// A function of a request, or a task that it has spawned.
pub(crate) struct User<C: LazyCell> {
    server: Arc<C::Server<Watched>>,
    handle: C::Handle<Watched>,
}

/// How a use ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// With the object of this number.
    Served(u64),
    Refused(String),
    Panicked(String),
    Hung,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Use::Served(number) => write!(f, "is served with object {number}"),
            Use::Refused(why) => write!(f, "is refused: {why}"),
            Use::Panicked(message) => write!(f, "panics: {message}"),
            Use::Hung => write!(f, "hangs, for {PATIENCE:?}"),
        }
    }
}

impl<C: LazyCell> User<C> {
    /// Asks for the object, keeps it until `done` has come, and gives the loan back.
    pub(crate) async fn work(&self, done: impl Future<Output = ()> + Send) -> Use {
        match C::get(&self.server, &self.handle).await {
            Ok(loan) => {
                let number = C::object(&loan).number;
                done.await;
                Use::Served(number)
            }
            Err(refused) => Use::Refused(refused.to_string()),
        }
    }

    /// Uses it in passing.
    pub(crate) async fn glance(&self) -> Use {
        self.work(std::future::ready(())).await
    }

    /// The same in a task of its own.
    pub(crate) fn spawn(self) -> JoinHandle<Use> {
        tokio::spawn(async move { self.glance().await })
    }
}

/// How the use in that task ends.
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

/// Lets everybody else come to where he has to wait.
pub(crate) async fn settle() {
    for _ in 0..64 {
        yield_now().await;
    }
}
