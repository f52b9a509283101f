//! A backend that does what a script says, and tracks its handles.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use reqscope_testkit::Gate;

use crate::backend::{Backend, Refused};

/// Each method passes a gate, which is open unless a script closes it.
pub(crate) struct Scripted {
    pub(crate) creation: Gate,
    pub(crate) validation: Gate,
    pub(crate) release: Gate,
    state: Arc<Mutex<State>>,
}

/// A handle. The state of its backend lists it while it exists.
pub(crate) struct Handle {
    id: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    created: u64,
    /// How often a handle was probed.
    probes: u64,
    /// How many of the next probes panic.
    panics: usize,
    alive: HashMap<u64, Wire>,
}

/// The state of a handle, which is like a connection whose answers come in the order of the questions.
#[derive(Default)]
struct Wire {
    /// Whether an operation on it was cut, which it knows.
    broken: bool,
    /// Answers that were not read. With any of them the next user reads the answer to the question of another.
    unread: u32,
}

impl Scripted {
    pub(crate) fn new() -> Arc<Scripted> {
        let [creation, validation, release] = [Gate::open(), Gate::open(), Gate::open()];
        Arc::new(Scripted { creation, validation, release, state: Arc::default() })
    }

    /// Returns how many handles exist.
    pub(crate) fn alive(&self) -> usize {
        self.state.lock().alive.len()
    }

    /// Returns how often a handle was probed.
    pub(crate) fn probes(&self) -> u64 {
        self.state.lock().probes
    }

    /// Makes this many of the next probes panic.
    pub(crate) fn panic_at_probes(&self, times: usize) {
        self.state.lock().panics = times;
    }

    pub(crate) fn panics_left(&self) -> usize {
        self.state.lock().panics
    }

    /// Cuts an operation on this handle, which the handle knows.
    pub(crate) fn cut(&self, id: u64) {
        self.state.lock().alive.entry(id).and_modify(|wire| wire.broken = true);
    }

    pub(crate) fn is_cut(&self, id: u64) -> bool {
        self.state.lock().alive.get(&id).is_some_and(|wire| wire.broken)
    }

    /// Returns how many wrong answers its next user would read.
    pub(crate) fn unread(&self, id: u64) -> u32 {
        self.state.lock().alive.get(&id).map_or(0, |wire| wire.unread)
    }
}

impl Handle {
    fn wire<T>(&self, act: impl FnOnce(&mut Wire) -> T) -> T {
        act(self.state.lock().alive.get_mut(&self.id).expect("it exists"))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.state.lock().alive.remove(&self.id);
    }
}

impl Backend for Scripted {
    type Handle = Handle;

    async fn create(&self) -> Result<Handle, Refused> {
        self.creation.pass().await.map_err(Refused::by)?;
        let mut state = self.state.lock();
        state.created += 1;
        let id = state.created;
        state.alive.insert(id, Wire::default());
        Ok(Handle { id, state: Arc::clone(&self.state) })
    }

    fn is_broken(&self, handle: &Handle) -> bool {
        let panics = {
            let mut state = self.state.lock();
            state.probes += 1;
            let panics = state.panics > 0;
            state.panics -= usize::from(panics);
            panics
        };
        assert!(!panics, "a probe that panics");
        handle.wire(|wire| wire.broken)
    }

    async fn validate(&self, handle: &Handle) -> Result<(), Refused> {
        handle.wire(|wire| wire.unread += 1);
        // If it is dropped here, the question was sent, and its answer stays on the wire.
        self.validation.pass().await.map_err(Refused::by)?;
        handle.wire(|wire| wire.unread -= 1);
        Ok(())
    }

    async fn release(&self, handle: Handle) {
        // The handle is dropped whether its release succeeds or not.
        self.release.pass().await.ok();
        drop(handle);
    }

    fn id(handle: &Handle) -> u64 {
        handle.id
    }
}
