//! The resource of the models, and the journal it keeps.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use loom::future::AtomicWaker;
use loom::sync::atomic::{AtomicBool, Ordering};
use parking_lot::Mutex;

use crate::{Error, Exit, Health, Resource};

/// Records what was done, in order. Not under loom's lock, which would add orders of its own.
#[derive(Default)]
pub(super) struct Journal(Mutex<Vec<JournalEntry>>);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum JournalEntry {
    Acquired(&'static str),
    Releasing(&'static str),
    Released(&'static str, Exit),
}

impl Journal {
    fn record(&self, entry: JournalEntry) {
        self.0.lock().push(entry);
    }

    pub(super) fn entries(&self) -> Vec<JournalEntry> {
        self.0.lock().clone()
    }

    pub(super) fn acquired(&self) -> usize {
        self.entries().iter().filter(|entry| matches!(entry, JournalEntry::Acquired(_))).count()
    }

    /// Returns the exits of the released handles of this resource, in order.
    pub(super) fn exits(&self, of: &str) -> Vec<Exit> {
        let exit =
            |entry| if let JournalEntry::Released(name, exit) = entry { (name == of).then_some(exit) } else { None };
        self.entries().into_iter().filter_map(exit).collect()
    }
}

/// What an acquisition does.
pub(super) enum Acquire {
    AtOnce,
    /// Waits once, and wakes itself.
    Soon,
    /// Waits once, wakes itself and fails.
    Error,
    Never,
    /// The first acquisition never ends, the others wait once.
    NotTheFirst,
}

pub(super) struct Probe {
    name: &'static str,
    acquire: Acquire,
    /// Releases wait for it. Without a gate they do not wait.
    gate: Option<Gate>,
    settles: bool,
    attempts: Mutex<usize>,
    pub(super) journal: Arc<Journal>,
}

impl Probe {
    pub(super) fn new(acquire: Acquire) -> Self {
        Probe { name: "it", acquire, gate: None, settles: false, attempts: Mutex::default(), journal: Arc::default() }
    }

    pub(super) fn settling(mut self) -> Self {
        self.settles = true;
        self
    }

    pub(super) fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    pub(super) fn named(mut self, name: &'static str, journal: &Arc<Journal>) -> Self {
        self.name = name;
        self.journal = Arc::clone(journal);
        self
    }

    pub(super) fn attempts(&self) -> usize {
        *self.attempts.lock()
    }

    fn attempt(&self) -> usize {
        let mut attempts = self.attempts.lock();
        *attempts += 1;
        *attempts
    }

    fn make(&self) -> Handle {
        self.journal.record(JournalEntry::Acquired(self.name));
        Handle { sound: true, uses: loom::cell::Cell::new(0) }
    }

    fn end(&self, handle: &Handle, exit: Exit) {
        handle.touch();
        self.journal.record(JournalEntry::Released(self.name, exit));
    }
}

/// A handle. Each use writes to a cell that loom observes: two uses at a time are a data race.
#[derive(Debug)]
pub(super) struct Handle {
    sound: bool,
    uses: loom::cell::Cell<usize>,
}

impl Handle {
    pub(super) fn touch(&self) {
        self.uses.set(self.uses.get() + 1);
    }

    /// Marks the handle as dead, like an operation that was cut in the middle.
    pub(super) fn cut(&mut self) {
        self.sound = false;
    }
}

impl Resource for Probe {
    type Handle = Handle;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Handle, Error<Infallible>> {
        let attempt = self.attempt();
        match self.acquire {
            Acquire::Never => std::future::pending().await,
            Acquire::NotTheFirst if attempt == 1 => std::future::pending().await,
            Acquire::Error => {
                once().await;
                Err(Error::unavailable())
            }
            Acquire::Soon | Acquire::AtOnce | Acquire::NotTheFirst => {
                once().await;
                Ok(self.make())
            }
        }
    }

    async fn release(&self, handle: Handle, exit: Exit) -> Result<(), Error<Infallible>> {
        self.journal.record(JournalEntry::Releasing(self.name));
        if let Some(gate) = &self.gate {
            gate.passed().await;
        }
        self.end(&handle, exit);
        Ok(())
    }

    fn try_acquire(&self) -> Option<Handle> {
        matches!(self.acquire, Acquire::AtOnce).then(|| self.make())
    }

    fn probe(&self, handle: &Handle) -> Health {
        if handle.sound { Health::Ready } else { Health::Dead }
    }

    fn reclaim(&self, handle: Handle, exit: Exit) -> Result<(), Handle> {
        if self.gate.is_some() {
            return Err(handle);
        }
        self.end(&handle, exit);
        Ok(())
    }

    fn settles(&self, _: Exit) -> bool {
        self.settles
    }
}

/// Returns a future that is pending at its first poll, and wakes itself.
pub(super) fn once() -> impl Future<Output = ()> {
    let mut waited = false;
    poll_fn(move |cx| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// A gate for releases, which another thread opens.
#[derive(Clone)]
pub(super) struct Gate(Arc<GateState>);

struct GateState {
    open: AtomicBool,
    waiting: AtomicWaker,
}

impl Gate {
    pub(super) fn new() -> Self {
        Gate(Arc::new(GateState { open: AtomicBool::new(false), waiting: AtomicWaker::new() }))
    }

    pub(super) fn open(&self) {
        self.0.open.store(true, Ordering::Release);
        self.0.waiting.wake();
    }

    async fn passed(&self) {
        poll_fn(|cx| {
            self.0.waiting.register_by_ref(cx.waker());
            if self.0.open.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
