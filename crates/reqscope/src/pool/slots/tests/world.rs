use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::super::*;
use super::step::Step;

/// A handle is a number, and so is its metadata. A holder is a number too.
pub(super) type Machine = Slots<u32, u32, u32>;

/// The state machine, and what its callers know.
pub(super) struct World {
    pub(super) slots: Machine,
    lent: Vec<(u32, u32)>,
    creating: Vec<(Claim, Moment)>,
    /// With the handle.
    validating: Vec<(Claim, Moment, u32)>,
    ending: Vec<Claim>,
    now: Moment,
    /// In the order in which they are to be served.
    queue: VecDeque<Waiting>,
    /// Waiters with a grant, and the granted handle.
    granted: Vec<(Waiting, u32)>,
    handles: u32,
    holders: u32,
    /// How many waiters have joined at the end of the queue.
    joined: usize,
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
            now: Moment::ZERO.after(Duration::from_secs(1)),
            queue: VecDeque::new(),
            granted: Vec::new(),
            handles: 0,
            holders: 0,
            joined: 0,
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
                    let (claim, meta) = self.slots.claim(slot, Work::Validating, due);
                    assert_eq!(meta, handle);
                    self.validating.push((claim, due, handle));
                }
            }
            Step::PutValidated(index, wanted) => {
                if let Some((claim, handle)) = self.pick_validated(index) {
                    let slot = self.slots.lend_claimed(claim, handle, 0).expect("the claim is valid");
                    self.put(slot, handle, wanted);
                }
            }
            Step::LendValidated(index) => {
                if let Some((claim, handle)) = self.pick_validated(index) {
                    let holder = self.new_holder();
                    let slot = self.slots.lend_claimed(claim, handle, holder).expect("the claim is valid");
                    self.lent.push((slot, handle));
                }
            }
            Step::EndValidated(index) => {
                if let Some((claim, _)) = self.pick_validated(index) {
                    let ending = self.slots.reclaim(claim, Work::Ending, Moment::NEVER).expect("the claim is valid");
                    assert!(!self.slots.free(claim), "the former claim is void");
                    self.ending.push(ending);
                }
            }
            Step::Begin(limit, spare) => {
                if self.slots.wants(limit, spare) {
                    let due = self.due();
                    let claim = self.slots.begin(due);
                    self.creating.push((claim, due));
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
                    let (claim, _) = self.creating.swap_remove(index);
                    self.handles += 1;
                    let handle = self.handles;
                    let slot = self.slots.lend_claimed(claim, handle, 0).expect("the claim is valid");
                    self.put(slot, handle, true);
                }
            }
            Step::FreeCreating(index) => {
                if let Some(index) = pick(self.creating.len(), index) {
                    assert!(self.slots.free(self.creating.swap_remove(index).0));
                }
            }
            Step::FreeEnding(index) => {
                if let Some(index) = pick(self.ending.len(), index) {
                    let claim = self.ending.swap_remove(index);
                    assert!(self.slots.free(claim));
                    assert!(!self.slots.free(claim), "freed twice");
                }
            }
            Step::Pass(millis) => {
                self.now = self.now.after(Duration::from_millis(millis));
                // With no grace, what the first call finds overdue is given up by the second one.
                assert_eq!(self.slots.give_up(self.now, Duration::ZERO), []);
                let given_up = self.slots.give_up(self.now, Duration::ZERO);
                let now = self.now;
                let mut overdue = 0;
                self.creating.retain(|(claim, due)| {
                    overdue += usize::from(*due <= now);
                    (*due <= now) == given_up.contains(claim) && *due > now
                });
                self.validating.retain(|(claim, due, _)| {
                    overdue += usize::from(*due <= now);
                    (*due <= now) == given_up.contains(claim) && *due > now
                });
                assert_eq!(given_up.len(), overdue, "what is overdue is given up, and nothing else");
                for claim in given_up {
                    assert!(!self.slots.free(claim), "the claim is void");
                    assert_eq!(self.slots.lend_claimed(claim, 7, 0), Err(7), "the claim is void");
                }
            }
            Step::RemoveIdle(most) => {
                let removed = self.slots.remove_idle(most, |meta| meta % 2 == 0);
                assert!(removed.len() <= most && removed.iter().all(|(_, handle, _)| handle % 2 == 0));
                self.have_ended(removed);
            }
            Step::ValidateAll => {
                let due = self.due();
                let all = self.slots.claim_idle(usize::MAX, Work::Validating, due, |_| true);
                assert_eq!(self.slots.counts().idle, 0);
                self.validating.extend(all.into_iter().map(|(claim, handle, _)| (claim, due, handle)));
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
        if let Some((slot, handle, ())) = self.slots.take(holder, |_| Some(())) {
            self.lent.push((slot, handle));
            return;
        }
        let limit = if again { usize::MAX } else { limit };
        match self.slots.may_join(limit) {
            Ok(()) => {
                assert!(!self.slots.is_closed());
                let woken = Arc::<Woken>::default();
                let ticket = self.slots.join(holder, Waker::from(Arc::clone(&woken)), again);
                let waiting = Waiting { ticket, holder, woken, registered: true };
                if again {
                    self.queue.push_front(waiting);
                } else {
                    self.joined += 1;
                    assert_eq!(self.slots.waiters().joined(), self.joined as u64);
                    self.queue.push_back(waiting);
                }
            }
            Err(JoinError::Closed) => assert!(self.slots.is_closed()),
            Err(JoinError::Full) => assert!(!again && self.queue.len() >= limit),
        }
    }

    /// Returns when work is overdue that begins now.
    fn due(&self) -> Moment {
        self.now.after(Duration::from_millis(u64::from(self.holders % 7)))
    }

    fn pick_validated(&mut self, index: usize) -> Option<(Claim, u32)> {
        let index = pick(self.validating.len(), index)?;
        let (claim, _, handle) = self.validating.swap_remove(index);
        Some((claim, handle))
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
                assert!(self.staying() <= self.slots.max, "a surplus handle was kept (2)");
                assert!(self.queue.is_empty() || self.slots.mode == Mode::Paused, "a waiter was passed over (3)");
            }
            Put::Granted(waker) => {
                assert!(wanted && self.slots.mode == Mode::Open, "granted in a paused or closed pool (5)");
                let head = self.queue.front().expect("a waiter was granted it");
                assert_eq!(waker.is_some(), head.registered, "the head of the queue is woken");
                waker.into_iter().for_each(Waker::wake);
                self.take_new_grants();
            }
            Put::Refused(claim, refused, meta) => {
                assert_eq!((refused, meta, claim.slot), (handle, handle, slot));
                // Its own slot is still occupied.
                let surplus = self.staying() > self.slots.max;
                assert!(!wanted || surplus || self.slots.is_closed(), "refused for no reason");
                self.ending.push(claim);
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

    fn have_ended(&mut self, handles: Vec<(Claim, u32, u32)>) {
        for (claim, handle, meta) in handles {
            assert_eq!(handle, meta);
            self.ending.push(claim);
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
        assert_eq!(counts.validating, self.validating.len(), "validations (1)");
        assert_eq!(counts.ending, self.ending.len(), "ending slots (1)");
        assert_eq!(counts.waiting, self.queue.len(), "waiters");
        let of = |slot: u32| &self.slots.entries[slot as usize];
        for (slot, handle) in &self.lent {
            assert!(matches!(of(*slot), Entry::Held(Occupant::Lent(_), meta) if meta == handle), "not lent (1)");
        }
        let is_valid = |claim: &Claim, with: Work| matches!(of(claim.slot), Entry::Busy { work, claim: number, .. } if *number == claim.number && *work == with);
        assert!(self.creating.iter().all(|(claim, _)| is_valid(claim, Work::Creating)), "not a creation (1)");
        assert!(self.validating.iter().all(|(claim, ..)| is_valid(claim, Work::Validating)), "not validated (1)");
        assert!(self.ending.iter().all(|claim| is_valid(claim, Work::Ending)), "not ending (1)");
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
