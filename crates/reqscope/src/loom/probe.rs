//! The resource of the models, and the journal it keeps.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use loom::future::AtomicWaker;
use loom::sync::atomic::{AtomicBool, Ordering};
use parking_lot::Mutex;

use crate::{Error, Exit, Health, Resource};

/// What was done, in the order in which it was done. Not the checker's lock: it adds no order of its own.
#[derive(Default)]
pub(super) struct Journal(Mutex<Vec<Entry>>);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Entry {
    Acquired(&'static str),
    Releasing(&'static str),
    Released(&'static str, Exit),
}

impl Journal {
    fn write(&self, entry: Entry) {
        self.0.lock().push(entry);
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.0.lock().clone()
    }

    pub(super) fn acquired(&self) -> usize {
        self.entries().iter().filter(|entry| matches!(entry, Entry::Acquired(_))).count()
    }

    /// How the handles of this resource were released, in their order.
    pub(super) fn exits(&self, of: &str) -> Vec<Exit> {
        let exit = |entry| if let Entry::Released(name, exit) = entry { (name == of).then_some(exit) } else { None };
        self.entries().into_iter().filter_map(exit).collect()
    }
}

/// How an acquisition goes.
pub(super) enum Acquire {
    AtOnce,
    /// It waits once, and is woken by its own hand.
    Soon,
    /// The same, and then it fails.
    Error,
    Never,
    /// The first one never ends, the others do soon.
    NotTheFirst,
}

pub(super) struct Probe {
    name: &'static str,
    acquire: Acquire,
    /// Releases wait for it; without one they need not wait.
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
        self.journal.write(Entry::Acquired(self.name));
        Handle { sound: true, uses: loom::cell::Cell::new(0) }
    }

    fn end(&self, handle: &Handle, exit: Exit) {
        handle.touch();
        self.journal.write(Entry::Released(self.name, exit));
    }
}

/// Each use writes to it, where the checker sees: two at a time are a data race.
#[derive(Debug)]
pub(super) struct Handle {
    sound: bool,
    uses: loom::cell::Cell<usize>,
}

impl Handle {
    pub(super) fn touch(&self) {
        self.uses.set(self.uses.get() + 1);
    }

    /// As if an operation had been cut in the middle.
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
        self.journal.write(Entry::Releasing(self.name));
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

/// Pending at its first poll, and woken at once.
fn once() -> impl Future<Output = ()> {
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

/// What releases wait for, until another thread opens it.
#[derive(Clone)]
pub(super) struct Gate(Arc<Inside>);

struct Inside {
    open: AtomicBool,
    waiting: AtomicWaker,
}

impl Gate {
    pub(super) fn new() -> Self {
        Gate(Arc::new(Inside { open: AtomicBool::new(false), waiting: AtomicWaker::new() }))
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
