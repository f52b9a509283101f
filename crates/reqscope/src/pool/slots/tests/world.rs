use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::super::*;
use super::step::Step;

/// A handle is a number, and so is its metadata. A holder is a number too.
pub(super) type Machine = Slots<u32, u32, u32>;

/// The state machine, and what its callers know.
pub(super) struct World {
    pub(super) slots: Machine,
    lent: Vec<(u32, u32)>,
    creating: Vec<u32>,
    ending: Vec<u32>,
    /// In the order in which they are to be served.
    queue: VecDeque<Waiting>,
    /// Waiters with a grant, and the granted handle.
    granted: Vec<(Waiting, u32)>,
    handles: u32,
    holders: u32,
    /// How many waiters have joined at the end of the queue.
    joined: usize,
    /// How many of them have joined since the last visit.
    newcomers: usize,
}

struct Waiting {
    ticket: Ticket,
    holder: u32,
    woken: Arc<Woken>,
    registered: bool,
    /// The value of `World::joined` when it joined, or 0 if it joined at the head of the queue.
    joined: usize,
}

/// Counts how often it is woken.
#[derive(Default)]
pub(super) struct Woken(AtomicUsize);

impl Woken {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl World {
    pub(super) fn new(max: usize) -> Self {
        World {
            slots: Slots::new(max),
            lent: Vec::new(),
            creating: Vec::new(),
            ending: Vec::new(),
            queue: VecDeque::new(),
            granted: Vec::new(),
            handles: 0,
            holders: 0,
            joined: 0,
            newcomers: 0,
        }
    }

    fn new_holder(&mut self) -> u32 {
        self.holders += 1;
        self.holders
    }

    pub(super) fn step(&mut self, step: &Step) {
        match *step {
            Step::Take(good) => {
                let (holder, before) = (self.new_holder(), self.slots.counts());
                let taken = self.slots.take(holder, |_| good);
                let free = self.slots.mode == Mode::Open && before.idle > 0;
                assert_eq!(taken.is_some(), free && good);
                self.lent.extend(taken);
            }
            Step::Join(limit) => self.join(limit, false),
            Step::Rejoin => self.join(0, true),
            Step::Queue(limit) => self.queue(limit),
            Step::Visit => {
                let newcomers = mem::take(&mut self.newcomers);
                let wakers = self.slots.waiters().visit();
                assert_eq!(wakers.is_some(), newcomers > 0, "waiters have joined since the last visit");
                let wakers = wakers.unwrap_or_default();
                let new = |waiting: &&mut Waiting| waiting.joined > self.joined - newcomers;
                let mut registered = 0;
                for waiting in self.queue.iter_mut().filter(new) {
                    registered += usize::from(mem::take(&mut waiting.registered));
                }
                assert_eq!(wakers.len(), registered, "all newcomers are woken, and no others");
            }
            Step::Register(index) => {
                if let Some(waiting) = pick(self.queue.len(), index).map(|index| &mut self.queue[index]) {
                    let waker = Waker::from(Arc::clone(&waiting.woken));
                    let old = self.slots.waiters().register(&waiting.ticket, waker);
                    assert_eq!(old.is_some(), mem::replace(&mut waiting.registered, true));
                }
            }
            Step::TakeGrant(index) => {
                let Some(index) = pick(self.granted.len() + self.queue.len(), index) else { return };
                if let Some(waiting) = self.queue.get(index.wrapping_sub(self.granted.len())) {
                    assert_eq!(self.slots.waiters().take(&waiting.ticket), None);
                } else {
                    let (waiting, handle) = self.granted.remove(index);
                    let (slot, granted) = self.slots.waiters().take(&waiting.ticket).expect("it was granted");
                    assert_eq!(granted, handle);
                    assert_eq!(self.slots.waiters().take(&waiting.ticket), None, "granted twice");
                    self.lent.push((slot, handle));
                }
            }
            Step::Leave(index) => self.leave(index),
            Step::Put(index, wanted) => {
                if let Some(index) = pick(self.lent.len(), index) {
                    let (slot, handle) = self.lent.swap_remove(index);
                    self.put(slot, handle, wanted);
                }
            }
            Step::End(index) => {
                if let Some(index) = pick(self.lent.len(), index) {
                    let (slot, handle) = self.lent.swap_remove(index);
                    assert_eq!(self.slots.end(slot), handle);
                    self.ending.push(slot);
                }
            }
            Step::Begin(limit, spare) => {
                if self.slots.wants(limit, spare) {
                    let slot = self.slots.begin();
                    self.creating.push(slot);
                    let counts = self.slots.counts();
                    assert!(counts.creating <= limit, "more creations than allowed (4)");
                    assert!(
                        counts.creating + counts.idle <= counts.waiting + spare.max(counts.idle),
                        "a creation without a use (4)"
                    );
                }
            }
            Step::Created(index) => {
                if let Some(index) = pick(self.creating.len(), index) {
                    let slot = self.creating.swap_remove(index);
                    self.handles += 1;
                    let handle = self.handles;
                    let put = self.slots.created(slot, handle, handle, 0);
                    self.has_put(slot, handle, true, put);
                }
            }
            Step::FreeCreating(index) => {
                if let Some(index) = pick(self.creating.len(), index) {
                    self.slots.free(self.creating.swap_remove(index));
                }
            }
            Step::FreeEnding(index) => {
                if let Some(index) = pick(self.ending.len(), index) {
                    self.slots.free(self.ending.swap_remove(index));
                }
            }
            Step::RemoveIdle(most) => {
                let removed = self.slots.remove_idle(most, |meta| meta % 2 == 0);
                assert!(removed.len() <= most && removed.iter().all(|(_, handle, _)| handle % 2 == 0));
                self.have_ended(removed);
            }
            Step::TakeAll => {
                let holder = self.new_holder();
                let all = self.slots.take_idle(usize::MAX, holder, |_| true);
                assert_eq!(self.slots.counts().idle, 0);
                self.lent.extend(all);
            }
            Step::Resize(max) => {
                let (staying, idle) = (self.staying(), self.slots.counts().idle);
                let surplus = self.slots.resize(max);
                assert_eq!(
                    surplus.len(),
                    staying.saturating_sub(max).min(idle),
                    "exactly the surplus is taken out (2)"
                );
                self.have_ended(surplus);
            }
            Step::Pause => self.slots.pause(),
            Step::Resume => {
                let paused = self.slots.mode == Mode::Paused;
                let wakers = self.slots.resume();
                if paused {
                    self.wake(wakers);
                    self.take_new_grants();
                } else {
                    assert!(wakers.is_empty());
                }
            }
            Step::Close => {
                let (idle, wakers) = self.slots.close();
                self.wake(wakers);
                self.have_ended(idle);
            }
        }
    }

    /// Takes an idle handle, or joins the queue.
    fn join(&mut self, limit: usize, again: bool) {
        let holder = self.new_holder();
        if let Some(taken) = self.slots.take(holder, |_| true) {
            self.lent.push(taken);
            return;
        }
        match self.slots.join(holder, limit, again) {
            Ok(ticket) => {
                assert!(!self.slots.is_closed());
                if again {
                    let woken = Arc::default();
                    self.queue.push_front(Waiting { ticket, holder, woken, registered: false, joined: 0 });
                } else {
                    self.has_joined(ticket, holder, Arc::default(), false);
                }
            }
            Err(JoinError::Closed) => assert!(self.slots.is_closed()),
            Err(JoinError::Full) => assert!(!again && self.queue.len() >= limit),
        }
    }

    /// Joins the queue, which must work only if no handle is idle and none can be created.
    fn queue(&mut self, limit: usize) {
        let (holder, counts, woken) = (self.new_holder(), self.slots.counts(), Arc::<Woken>::default());
        let mut waker = Some(Waker::from(Arc::clone(&woken)));
        let taken = counts.idle + counts.lent + counts.creating + counts.ending;
        let crowded = self.slots.mode == Mode::Open && taken >= counts.max && counts.idle == 0;
        match self.slots.queue(holder, limit, &mut waker) {
            Some(ticket) => {
                assert!(crowded && counts.waiting < limit && waker.is_none());
                self.has_joined(ticket, holder, woken, true);
            }
            None => assert!(waker.is_some() && !(crowded && counts.waiting < limit)),
        }
    }

    fn has_joined(&mut self, ticket: Ticket, holder: u32, woken: Arc<Woken>, registered: bool) {
        self.joined += 1;
        self.newcomers += 1;
        assert_eq!(self.slots.joined(), self.joined as u64);
        self.queue.push_back(Waiting { ticket, holder, woken, registered, joined: self.joined });
    }

    fn leave(&mut self, index: usize) {
        if let Some(index) = pick(self.queue.len() + self.granted.len(), index) {
            if index < self.queue.len() {
                let waiting = self.queue.remove(index).expect("it is there");
                let (grant, waker) = self.slots.waiters().leave(&waiting.ticket);
                assert_eq!((grant, waker.is_some()), (None, waiting.registered));
            } else {
                let (waiting, handle) = self.granted.remove(index - self.queue.len());
                let (grant, _) = self.slots.waiters().leave(&waiting.ticket);
                let (slot, granted) = grant.expect("it was granted");
                assert_eq!(granted, handle);
                self.put(slot, handle, true);
            }
        }
    }

    fn put(&mut self, slot: u32, handle: u32, wanted: bool) {
        let put = self.slots.put(slot, handle, |meta| {
            assert_eq!(*meta, handle, "the metadata of another handle");
            wanted
        });
        self.has_put(slot, handle, wanted, put);
    }

    /// Asserts that the handle went where it had to go.
    fn has_put(&mut self, slot: u32, handle: u32, wanted: bool, put: Put<u32, u32>) {
        match put {
            Put::Idle => {
                assert!(wanted && self.slots.mode != Mode::Closed);
                assert!(self.staying() <= self.slots.max(), "a surplus handle was kept (2)");
                assert!(self.queue.is_empty() || self.slots.mode == Mode::Paused, "a waiter was passed over (3)");
            }
            Put::Granted(waker) => {
                assert!(wanted && self.slots.mode == Mode::Open, "granted in a paused or closed pool (5)");
                let head = self.queue.front().expect("a waiter was granted it");
                assert_eq!(waker.is_some(), head.registered, "the head of the queue is woken");
                waker.into_iter().for_each(Waker::wake);
                self.take_new_grants();
            }
            Put::Refused(refused, meta) => {
                assert_eq!((refused, meta), (handle, handle));
                // Its own slot is still occupied.
                let surplus = self.staying() > self.slots.max();
                assert!(!wanted || surplus || self.slots.is_closed(), "refused for no reason");
                self.ending.push(slot);
            }
        }
    }

    /// Moves the waiters at the head of the queue that have been granted a handle.
    fn take_new_grants(&mut self) {
        while self.queue.len() > self.slots.counts().waiting {
            let waiting = self.queue.pop_front().expect("the machine counts fewer");
            let (slot, handle) = *self.slots.waiters.granted(&waiting.ticket).expect("first come, first served");
            let Entry::Held(Occupant::Lent(holder), _) = &self.slots.entries[slot as usize] else {
                panic!("a granted handle is lent");
            };
            assert_eq!(*holder, waiting.holder, "the holder of another waiter");
            assert_eq!(waiting.woken.count() > 0, waiting.registered, "granted and not woken");
            self.granted.push((waiting, handle));
        }
    }

    /// Wakes all waiters with a waker, which will register again.
    fn wake(&mut self, wakers: Vec<Waker>) {
        assert_eq!(
            wakers.len(),
            self.queue.iter().filter(|waiting| waiting.registered).count(),
            "not all were woken"
        );
        wakers.into_iter().for_each(Waker::wake);
        for waiting in &mut self.queue {
            assert_eq!(waiting.woken.count() > 0, waiting.registered);
            waiting.registered = false;
            waiting.woken = Arc::default();
        }
    }

    fn have_ended(&mut self, handles: Vec<(u32, u32, u32)>) {
        for (slot, handle, meta) in handles {
            assert_eq!(handle, meta);
            self.ending.push(slot);
        }
    }

    pub(super) fn occupied(&self) -> usize {
        self.slots.occupied()
    }

    /// Returns the number of occupied slots that are not ending.
    fn staying(&self) -> usize {
        self.occupied() - self.ending.len()
    }

    /// Asserts the invariants, and that the slots agree with the numbers that callers hold (1).
    pub(super) fn check(&self) {
        self.slots.check();
        let counts = self.slots.counts();
        assert_eq!(counts.lent, self.lent.len() + self.granted.len(), "lent handles (1)");
        assert_eq!(counts.creating, self.creating.len(), "creations (1)");
        assert_eq!(counts.ending, self.ending.len(), "ending slots (1)");
        assert_eq!(counts.waiting, self.queue.len(), "waiters");
        let of = |slot: u32| &self.slots.entries[slot as usize];
        for (slot, handle) in &self.lent {
            assert!(matches!(of(*slot), Entry::Held(Occupant::Lent(_), meta) if meta == handle), "not lent (1)");
        }
        assert!(self.creating.iter().all(|slot| matches!(of(*slot), Entry::Creating)), "not a creation (1)");
        assert!(self.ending.iter().all(|slot| matches!(of(*slot), Entry::Ending)), "not ending (1)");
    }

    /// Removes all waiters, and returns and ends all handles.
    pub(super) fn end(mut self) {
        self.step(&Step::Close);
        self.check();
        while !self.queue.is_empty() || !self.granted.is_empty() {
            self.step(&Step::Leave(0));
            self.check();
        }
        while !self.lent.is_empty() {
            self.step(&Step::Put(0, true));
        }
        while !self.creating.is_empty() {
            self.step(&Step::Created(0));
        }
        while !self.ending.is_empty() {
            self.step(&Step::FreeEnding(0));
            self.check();
        }
        assert_eq!(self.slots.counts(), Counts { max: self.slots.max(), ..Counts::default() });
    }
}

/// Returns the index modulo the count.
fn pick(count: usize, index: usize) -> Option<usize> {
    (count > 0).then(|| index % count.max(1))
}
