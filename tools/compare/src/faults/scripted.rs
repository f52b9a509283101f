//! A backend that does what a script says, and remembers what became of its objects.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use reqscope_testkit::Gate;

use crate::backend::{Backend, Refused};

/// Each verb goes through a gate, which is open unless a script says otherwise.
pub(crate) struct Scripted {
    pub(crate) creation: Gate,
    pub(crate) validation: Gate,
    pub(crate) release: Gate,
    books: Arc<Mutex<Books>>,
}

/// It is in the books while it lives.
pub(crate) struct Object {
    id: u64,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    created: u64,
    /// How often somebody looked whether an object is broken, and how many looks from now on panic.
    looks: u64,
    panics: usize,
    alive: HashMap<u64, Wire>,
}

/// The state of an object, as that of a connection whose answers come in the order of the questions.
#[derive(Default)]
struct Wire {
    /// Whether an operation on it was cut, and it knows.
    broken: bool,
    /// Answers that nobody has read. With any of them the next user reads the answer to the question of another.
    unread: u32,
}

impl Scripted {
    pub(crate) fn new() -> Arc<Scripted> {
        let [creation, validation, release] = [Gate::open(), Gate::open(), Gate::open()];
        Arc::new(Scripted { creation, validation, release, books: Arc::default() })
    }

    /// How many have not ended.
    pub(crate) fn alive(&self) -> usize {
        self.books.lock().alive.len()
    }

    /// How often somebody has looked at an object.
    pub(crate) fn looks(&self) -> u64 {
        self.books.lock().looks
    }

    /// So many looks from now on panic.
    pub(crate) fn panic_at_looks(&self, times: usize) {
        self.books.lock().panics = times;
    }

    pub(crate) fn panics_left(&self) -> usize {
        self.books.lock().panics
    }

    /// An operation on this object is cut; the object knows.
    pub(crate) fn cut(&self, id: u64) {
        self.books.lock().alive.entry(id).and_modify(|wire| wire.broken = true);
    }

    pub(crate) fn is_cut(&self, id: u64) -> bool {
        self.books.lock().alive.get(&id).is_some_and(|wire| wire.broken)
    }

    /// How many answers its next user reads that are not his.
    pub(crate) fn unread(&self, id: u64) -> u32 {
        self.books.lock().alive.get(&id).map_or(0, |wire| wire.unread)
    }
}

impl Object {
    fn wire<T>(&self, act: impl FnOnce(&mut Wire) -> T) -> T {
        act(self.books.lock().alive.get_mut(&self.id).expect("it lives"))
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.books.lock().alive.remove(&self.id);
    }
}

impl Backend for Scripted {
    type Object = Object;

    async fn create(&self) -> Result<Object, Refused> {
        self.creation.pass().await.map_err(Refused::by)?;
        let mut books = self.books.lock();
        books.created += 1;
        let id = books.created;
        books.alive.insert(id, Wire::default());
        Ok(Object { id, books: Arc::clone(&self.books) })
    }

    fn is_broken(&self, object: &Object) -> bool {
        let panics = {
            let mut books = self.books.lock();
            books.looks += 1;
            let panics = books.panics > 0;
            books.panics -= usize::from(panics);
            panics
        };
        assert!(!panics, "a look that panics");
        object.wire(|wire| wire.broken)
    }

    async fn validate(&self, object: &Object) -> Result<(), Refused> {
        object.wire(|wire| wire.unread += 1);
        // Dropped here, the question is asked, and its answer stays on the wire.
        self.validation.pass().await.map_err(Refused::by)?;
        object.wire(|wire| wire.unread -= 1);
        Ok(())
    }

    async fn release(&self, object: Object) {
        // Whether its end succeeds is of no interest here: it ends in any case.
        self.release.pass().await.ok();
        drop(object);
    }

    fn id(object: &Object) -> u64 {
        object.id
    }
}
