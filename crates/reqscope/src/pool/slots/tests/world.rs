use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::super::*;
use super::invariants::Counts;
use super::step::Step;

/// A handle is a number, and so is its metadata. A holder is a number too.
pub(super) type Machine = Slots<u32, u32, u32>;

/// The state machine, and what its callers know.
pub(super) struct World {
    pub(super) slots: Machine,
    lent: Vec<(u32, u32)>,
    creating: Vec<(u32, Moment)>,
    /// With the handle.
    validating: Vec<(u32, Moment, u32)>,
    ending: Vec<u32>,
    /// What was given up, and the handle, if there is one.
    late: Vec<(u32, Option<u32>)>,
    now: Moment,
    /// In the order in which they are to be served.
    queue: VecDeque<Waiting>,
    /// Waiters with a grant, and the granted handle.
    granted: Vec<(Waiting, u32)>,
    handles: u32,
    holders: u32,
}

struct Waiting {
    ticket: Ticket,
    holder: u32,
    woken: Arc<Woken>,
    registered: bool,
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
            validating: Vec::new(),
            ending: Vec::new(),
            late: Vec::new(),
            now: Moment::ZERO.after(Duration::from_secs(1)),
            queue: VecDeque::new(),
            granted: Vec::new(),
            handles: 0,
            holders: 0,
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
                let taken = self.slots.take(holder, |_| good.then_some(())).map(|(slot, handle, ())| (slot, handle));
                let free = self.slots.mode == Mode::Open && before.idle > 0;
                assert_eq!(taken.is_some(), free && good);
                self.lent.extend(taken);
            }
            Step::Join(limit) => self.join(limit, false),
            Step::Rejoin => self.join(0, true),
            Step::Register(index) => {
                if let Some(waiting) = pick(self.queue.len(), index).map(|index| &mut self.queue[index]) {
                    let waker = Waker::from(Arc::clone(&waiting.woken));
                    let old = self.slots.waiters.register(&waiting.ticket, waker);
                    assert_eq!(old.is_some(), mem::replace(&mut waiting.registered, true));
                }
            }
            Step::TakeGrant(index) => {
                let Some(index) = pick(self.granted.len() + self.queue.len(), index) else { return };
                if let Some(waiting) = self.queue.get(index.wrapping_sub(self.granted.len())) {
                    assert_eq!(self.slots.waiters.take(&waiting.ticket), None);
                } else {
                    let (waiting, handle) = self.granted.remove(index);
                    let (slot, granted) = self.slots.waiters.take(&waiting.ticket).expect("it was granted");
                    assert_eq!(granted, handle);
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
            Step::Validate(index) => {
                if let Some(index) = pick(self.lent.len(), index) {
                    let (slot, handle) = self.lent.swap_remove(index);
                    let due = self.due();
                    self.slots.occupy(slot, Work::Validating, due);
                    self.validating.push((slot, due, handle));
                }
            }
            Step::PutValidated(index, wanted) => {
                if let Some((slot, handle)) = self.pick_validated(index) {
                    self.put(slot, handle, wanted);
                }
            }
            Step::LendValidated(index) => {
                if let Some((slot, handle)) = self.pick_validated(index) {
                    let holder = self.new_holder();
                    assert!(self.slots.lend(slot, holder));
                    self.lent.push((slot, handle));
                }
            }
            Step::EndValidated(index) => {
                if let Some((slot, handle)) = self.pick_validated(index) {
                    self.slots.occupy(slot, Work::Ending, Moment::NEVER);
                    self.has_ended(slot, handle);
                }
            }
            Step::Begin(limit, spare) => {
                if self.slots.wants(limit, spare) {
                    let due = self.due();
                    let slot = self.slots.begin(due);
                    self.creating.push((slot, due));
                    let counts = self.slots.counts();
                    assert!(counts.creating <= limit, "more creations than allowed (4)");
                    let ready = counts.idle + counts.validating;
                    assert!(
                        counts.creating <= counts.waiting + spare.saturating_sub(ready),
                        "a creation without a use (4)"
                    );
                }
            }
            Step::Created(index) => {
                if let Some(index) = pick(self.creating.len(), index) {
                    let (slot, _) = self.creating.swap_remove(index);
                    let handle = self.new_handle(slot);
                    self.put(slot, handle, true);
                }
            }
            Step::FreeCreating(index) => {
                if let Some(index) = pick(self.creating.len(), index) {
                    self.slots.free(self.creating.swap_remove(index).0);
                }
            }
            Step::FreeEnding(index) => {
                if let Some(index) = pick(self.ending.len(), index) {
                    self.slots.free(self.ending.swap_remove(index));
                }
            }
            Step::Pass(millis) => {
                self.now = self.now.after(Duration::from_millis(millis));
                // With no grace, what the first call finds overdue is given up by the second one.
                assert_eq!(self.slots.give_up(self.now, Duration::ZERO), []);
                let given_up = self.slots.give_up(self.now, Duration::ZERO);
                let (now, before) = (self.now, self.late.len());
                let creating = self.creating.extract_if(.., |(_, due)| *due <= now).map(|(slot, _)| (slot, None));
                self.late.extend(creating);
                let validating = self.validating.extract_if(.., |(_, due, _)| *due <= now);
                self.late.extend(validating.map(|(slot, _, handle)| (slot, Some(handle))));
                let overdue: BTreeSet<_> = self.late[before..].iter().map(|(slot, _)| *slot).collect();
                assert_eq!(
                    given_up.into_iter().collect::<BTreeSet<_>>(),
                    overdue,
                    "what is overdue, and nothing else"
                );
            }
            Step::EndLate(index) => {
                let Some(index) = pick(self.late.len(), index) else { return };
                let (slot, handle) = self.late.swap_remove(index);
                let (before, holder) = (self.slots.counts(), self.new_holder());
                assert!(!self.slots.lend(slot, holder), "a slot that was given up is lent");
                self.slots.occupy(slot, Work::Validating, Moment::NEVER);
                let handle = handle.unwrap_or_else(|| self.new_handle(slot));
                let put = self.slots.put(slot, handle, |_| true);
                assert!(matches!(put, Err(refused) if refused == handle));
                assert_eq!(self.slots.meta(slot).take(), Some(handle));
                self.slots.free(slot);
                assert_eq!(self.slots.counts(), before, "a slot that was given up counts");
            }
            Step::RemoveIdle(most) => {
                let mut left = 0..most;
                let removed = self.slots.claim(Work::Ending, |_, meta| meta % 2 == 0 && left.next().is_some());
                assert!(removed.len() <= most && removed.iter().all(|(_, handle)| handle % 2 == 0));
                self.have_ended(removed);
            }
            Step::ValidateAll => {
                let due = Moment::NEVER;
                let all = self.slots.claim(Work::Validating, |_, _| true);
                assert_eq!(self.slots.counts().idle, 0);
                self.validating.extend(all.into_iter().map(|(slot, handle)| (slot, due, handle)));
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
        let (holder, before) = (self.new_holder(), self.slots.counts());
        if self.slots.is_full(if again { usize::MAX } else { limit }) {
            assert!(!again && (before.idle == 0 || before.paused) && self.queue.len() >= limit);
            return;
        }
        if self.slots.is_closed() {
            return;
        }
        let ticket = self.slots.join(holder, again);
        let woken = Arc::<Woken>::default();
        let granted = self.slots.waiters.take(&ticket);
        assert_eq!(granted.is_some(), self.slots.mode == Mode::Open && before.idle > 0, "granted at once (3)");
        if let Some(granted) = granted {
            self.lent.push(granted);
            return;
        }
        drop(self.slots.waiters.register(&ticket, Waker::from(Arc::clone(&woken))));
        let waiting = Waiting { ticket, holder, woken, registered: true };
        if again {
            self.queue.push_front(waiting);
        } else {
            self.queue.push_back(waiting);
        }
    }

    /// Makes a handle in this slot.
    fn new_handle(&mut self, slot: u32) -> u32 {
        self.handles += 1;
        assert_eq!(self.slots.meta(slot).replace(self.handles), None);
        self.handles
    }

    /// Returns when work is overdue that begins now.
    fn due(&self) -> Moment {
        self.now.after(Duration::from_millis(u64::from(self.holders % 7)))
    }

    fn pick_validated(&mut self, index: usize) -> Option<(u32, u32)> {
        let index = pick(self.validating.len(), index)?;
        let (slot, _, handle) = self.validating.swap_remove(index);
        Some((slot, handle))
    }

    fn leave(&mut self, index: usize) {
        if let Some(index) = pick(self.queue.len() + self.granted.len(), index) {
            if index < self.queue.len() {
                let waiting = self.queue.remove(index).expect("it is there");
                let (grant, waker) = self.slots.waiters.leave(&waiting.ticket);
                assert_eq!((grant, waker.is_some()), (None, waiting.registered));
            } else {
                let (waiting, handle) = self.granted.remove(index - self.queue.len());
                let (grant, _) = self.slots.waiters.leave(&waiting.ticket);
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
    fn has_put(&mut self, slot: u32, handle: u32, wanted: bool, put: Put<u32>) {
        let is_granted = self.slots.counts().waiting < self.queue.len();
        match put {
            Ok(waker) if !is_granted => {
                assert!(waker.is_none());
                assert!(wanted && self.slots.mode != Mode::Closed);
                assert!(self.staying() <= self.slots.max, "a surplus handle was kept (2)");
                assert!(self.queue.is_empty() || self.slots.mode == Mode::Paused, "a waiter was passed over (3)");
            }
            Ok(waker) => {
                assert!(wanted && self.slots.mode == Mode::Open, "granted in a paused or closed pool (5)");
                let head = self.queue.front().expect("a waiter was granted it");
                assert_eq!(waker.is_some(), head.registered, "the head of the queue is woken");
                waker.into_iter().for_each(Waker::wake);
                self.take_new_grants();
            }
            Err(refused) => {
                assert_eq!(refused, handle);
                // Its own slot is still occupied.
                let surplus = self.staying() > self.slots.max;
                assert!(!wanted || surplus || self.slots.is_closed(), "refused for no reason");
                self.has_ended(slot, handle);
            }
        }
    }

    /// Moves the waiters at the head of the queue that have been granted a handle.
    fn take_new_grants(&mut self) {
        while self.queue.len() > self.slots.counts().waiting {
            let waiting = self.queue.pop_front().expect("the machine counts fewer");
            let (slot, handle) = *self.slots.waiters.granted(&waiting.ticket).expect("first come, first served");
            let State::Lent(holder) = &self.slots.entries[slot as usize].state else {
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

    fn have_ended(&mut self, handles: Vec<(u32, u32)>) {
        handles.into_iter().for_each(|(slot, handle)| self.has_ended(slot, handle));
    }

    /// Takes the metadata of a handle that is released.
    fn has_ended(&mut self, slot: u32, handle: u32) {
        assert_eq!(self.slots.meta(slot).take(), Some(handle), "the metadata of another handle");
        self.ending.push(slot);
    }

    pub(super) fn occupied(&self) -> usize {
        self.slots.occupied()
    }

    /// Returns the number of occupied slots that are not ending.
    fn staying(&self) -> usize {
        self.occupied() - self.ending.len()
    }

    /// Asserts the invariants, and that the slots agree with the numbers that callers hold (1).
    pub(super) fn check(&mut self) {
        self.slots.check();
        let counts = self.slots.counts();
        assert_eq!(counts.lent, self.lent.len() + self.granted.len(), "lent handles (1)");
        assert_eq!(counts.creating, self.creating.len(), "creations (1)");
        assert_eq!(counts.validating, self.validating.len(), "validations (1)");
        assert_eq!(counts.ending, self.ending.len(), "ending slots (1)");
        assert_eq!(counts.waiting, self.queue.len(), "waiters");
        let of = |slot: u32| &self.slots.entries[slot as usize];
        for (slot, handle) in &self.lent {
            assert!(
                matches!(of(*slot), Entry { state: State::Lent(_), meta } if *meta == Some(*handle)),
                "not lent (1)"
            );
        }
        let does = |slot: u32, with: Work| matches!(of(slot).state, State::Busy { work, .. } if work == with);
        assert!(self.creating.iter().all(|(slot, _)| does(*slot, Work::Creating)), "not a creation (1)");
        assert!(self.validating.iter().all(|(slot, ..)| does(*slot, Work::Validating)), "not validated (1)");
        assert!(self.ending.iter().all(|slot| does(*slot, Work::Ending)), "not ending (1)");
        assert!(self.late.iter().all(|(slot, _)| does(*slot, Work::Late)), "not late (1)");
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
        while !self.validating.is_empty() {
            self.step(&Step::PutValidated(0, true));
        }
        while !self.late.is_empty() {
            self.step(&Step::EndLate(0));
        }
        while !self.ending.is_empty() {
            self.step(&Step::FreeEnding(0));
            self.check();
        }
        assert_eq!(self.slots.counts(), Counts { max: self.slots.max, ..Counts::default() });
    }
}

/// Returns the index modulo the count.
fn pick(count: usize, index: usize) -> Option<usize> {
    (count > 0).then(|| index % count.max(1))
}
