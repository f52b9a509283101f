use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::super::*;
use super::step::Step;

/// An object is its number, and so is its stub; a note is the number of whoever has it.
pub(super) type Machine = Slots<u32, u32, u32>;

/// The machine, and what whoever deals with it has been told.
pub(super) struct World {
    pub(super) slots: Machine,
    lent: Vec<(u32, u32)>,
    creating: Vec<u32>,
    ending: Vec<u32>,
    /// In the order in which they are to be served.
    line: VecDeque<Waiting>,
    /// With the object that the machine has for them.
    granted: Vec<(Waiting, u32)>,
    objects: u32,
    people: u32,
    /// How many have joined the line at its end.
    joined: usize,
    /// Those of them who have joined since the last visit.
    newcomers: usize,
}

struct Waiting {
    ticket: Ticket,
    who: u32,
    woken: Arc<Woken>,
    registered: bool,
    /// The how-manieth it was. 0: at the head of the line.
    joined: usize,
}

/// Counts.
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
            line: VecDeque::new(),
            granted: Vec::new(),
            objects: 0,
            people: 0,
            joined: 0,
            newcomers: 0,
        }
    }

    fn somebody(&mut self) -> u32 {
        self.people += 1;
        self.people
    }

    pub(super) fn step(&mut self, step: &Step) {
        match *step {
            Step::Take(pleases) => {
                let (who, before) = (self.somebody(), self.slots.counts());
                let taken = self.slots.take(who, |_| pleases);
                let free = self.slots.state == State::Open && before.idle > 0;
                assert_eq!(taken.is_some(), free && pleases);
                self.lent.extend(taken);
            }
            Step::Join(limit) => self.join(limit, false),
            Step::Rejoin => self.join(0, true),
            Step::Queue(limit) => self.queue(limit),
            Step::Visit => {
                let newcomers = mem::take(&mut self.newcomers);
                let wakers = self.slots.waiters().visit();
                assert_eq!(wakers.is_some(), newcomers > 0, "who has joined since the last visit");
                let wakers = wakers.unwrap_or_default();
                let new = |waiting: &&mut Waiting| waiting.joined > self.joined - newcomers;
                let mut registered = 0;
                for waiting in self.line.iter_mut().filter(new) {
                    registered += usize::from(mem::take(&mut waiting.registered));
                }
                assert_eq!(wakers.len(), registered, "not all newcomers were woken, or others too");
            }
            Step::Register(index) => {
                if let Some(waiting) = pick(self.line.len(), index).map(|index| &mut self.line[index]) {
                    let waker = Waker::from(Arc::clone(&waiting.woken));
                    let old = self.slots.waiters().register(&waiting.ticket, waker);
                    assert_eq!(old.is_some(), mem::replace(&mut waiting.registered, true));
                }
            }
            Step::Hear(index) => {
                let Some(index) = pick(self.granted.len() + self.line.len(), index) else { return };
                if let Some(waiting) = self.line.get(index.wrapping_sub(self.granted.len())) {
                    assert_eq!(self.slots.waiters().take(&waiting.ticket), None);
                } else {
                    let (waiting, object) = self.granted.remove(index);
                    let (slot, granted) = self.slots.waiters().take(&waiting.ticket).expect("it was granted");
                    assert_eq!(granted, object);
                    assert_eq!(self.slots.waiters().take(&waiting.ticket), None, "granted twice");
                    self.lent.push((slot, object));
                }
            }
            Step::Leave(index) => self.leave(index),
            Step::Put(index, wanted) => {
                if let Some(index) = pick(self.lent.len(), index) {
                    let (slot, object) = self.lent.swap_remove(index);
                    self.put(slot, object, wanted);
                }
            }
            Step::End(index) => {
                if let Some(index) = pick(self.lent.len(), index) {
                    let (slot, object) = self.lent.swap_remove(index);
                    assert_eq!(self.slots.end(slot), object);
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
                        "for nobody (4)"
                    );
                }
            }
            Step::Created(index) => {
                if let Some(index) = pick(self.creating.len(), index) {
                    let slot = self.creating.swap_remove(index);
                    self.objects += 1;
                    let object = self.objects;
                    let put = self.slots.created(slot, object, object, 0);
                    self.has_put(slot, object, true, put);
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
            Step::Weed(most) => {
                let weeded = self.slots.weed(most, |stub| stub % 2 == 0);
                assert!(weeded.len() <= most && weeded.iter().all(|(_, object, _)| object % 2 == 0));
                self.have_ended(weeded);
            }
            Step::TakeAll => {
                let who = self.somebody();
                let all = self.slots.take_some(usize::MAX, who, |_| true);
                assert_eq!(self.slots.counts().idle, 0);
                self.lent.extend(all);
            }
            Step::Resize(max) => {
                let (staying, idle) = (self.staying(), self.slots.counts().idle);
                let surplus = self.slots.resize(max);
                assert_eq!(surplus.len(), staying.saturating_sub(max).min(idle), "neither too many nor too few (2)");
                self.have_ended(surplus);
            }
            Step::Pause => self.slots.pause(),
            Step::Resume => {
                let paused = self.slots.state == State::Paused;
                let wakers = self.slots.resume();
                if paused {
                    self.wake(wakers);
                    self.hear_of_grants();
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

    /// What is idle, else a place in the line: one step.
    fn join(&mut self, limit: usize, again: bool) {
        let who = self.somebody();
        if let Some(taken) = self.slots.take(who, |_| true) {
            self.lent.push(taken);
            return;
        }
        match self.slots.join(who, limit, again) {
            Ok(ticket) => {
                assert!(!self.slots.is_closed());
                if again {
                    let woken = Arc::default();
                    self.line.push_front(Waiting { ticket, who, woken, registered: false, joined: 0 });
                } else {
                    self.has_joined(ticket, who, Arc::default(), false);
                }
            }
            Err(Refusal::Closed) => assert!(self.slots.is_closed()),
            Err(Refusal::Full) => assert!(!again && self.line.len() >= limit),
        }
    }

    /// Where nothing can be made, and nothing is there.
    fn queue(&mut self, limit: usize) {
        let (who, counts, woken) = (self.somebody(), self.slots.counts(), Arc::<Woken>::default());
        let mut waker = Some(Waker::from(Arc::clone(&woken)));
        let taken = counts.idle + counts.lent + counts.creating + counts.ending;
        let crowded = self.slots.state == State::Open && taken >= counts.max && counts.idle == 0;
        match self.slots.queue(who, limit, &mut waker) {
            Some(ticket) => {
                assert!(crowded && counts.waiting < limit && waker.is_none());
                self.has_joined(ticket, who, woken, true);
            }
            None => assert!(waker.is_some() && !(crowded && counts.waiting < limit)),
        }
    }

    fn has_joined(&mut self, ticket: Ticket, who: u32, woken: Arc<Woken>, registered: bool) {
        self.joined += 1;
        self.newcomers += 1;
        assert_eq!(self.slots.joined(), self.joined as u64);
        self.line.push_back(Waiting { ticket, who, woken, registered, joined: self.joined });
    }

    fn leave(&mut self, index: usize) {
        if let Some(index) = pick(self.line.len() + self.granted.len(), index) {
            if index < self.line.len() {
                let waiting = self.line.remove(index).expect("it is there");
                let (grant, waker) = self.slots.waiters().leave(&waiting.ticket);
                assert_eq!((grant, waker.is_some()), (None, waiting.registered));
            } else {
                let (waiting, object) = self.granted.remove(index - self.line.len());
                let (grant, _) = self.slots.waiters().leave(&waiting.ticket);
                let (slot, granted) = grant.expect("it was granted");
                assert_eq!(granted, object);
                self.put(slot, object, true);
            }
        }
    }

    fn put(&mut self, slot: u32, object: u32, wanted: bool) {
        let put = self.slots.put(slot, object, |stub| {
            assert_eq!(*stub, object, "the stub of another one");
            wanted
        });
        self.has_put(slot, object, wanted, put);
    }

    /// Where it went is where it should have gone.
    fn has_put(&mut self, slot: u32, object: u32, wanted: bool, put: Put<u32, u32>) {
        match put {
            Put::Idle => {
                assert!(wanted && self.slots.state != State::Closed);
                assert!(self.staying() <= self.slots.max(), "kept, though it is too many (2)");
                assert!(self.line.is_empty() || self.slots.state == State::Paused, "a waiter was passed over (3)");
            }
            Put::Granted(waker) => {
                assert!(wanted && self.slots.state == State::Open, "nobody is granted anything (5)");
                let head = self.line.front().expect("whoever was granted it waited");
                assert_eq!(waker.is_some(), head.registered, "the head of the line is woken");
                waker.into_iter().for_each(Waker::wake);
                self.hear_of_grants();
            }
            Put::Refused(refused, stub) => {
                assert_eq!((refused, stub), (object, object));
                // Its own slot is still taken.
                let surplus = self.staying() > self.slots.max();
                assert!(!wanted || surplus || self.slots.is_closed(), "refused for no reason");
                self.ending.push(slot);
            }
        }
    }

    /// Those at the head of the line for whom the machine has something.
    fn hear_of_grants(&mut self) {
        while self.line.len() > self.slots.counts().waiting {
            let waiting = self.line.pop_front().expect("the machine knows of fewer");
            let (slot, object) = *self.slots.waiters.granted(&waiting.ticket).expect("first come, first served");
            let Entry::Held(Whereabouts::Lent(note), _) = &self.slots.entries[slot as usize] else {
                panic!("what was granted is out");
            };
            assert_eq!(*note, waiting.who, "the note of another one");
            assert_eq!(waiting.woken.count() > 0, waiting.registered, "granted, and not woken");
            self.granted.push((waiting, object));
        }
    }

    /// All who had left a waker are woken, and will leave it again.
    fn wake(&mut self, wakers: Vec<Waker>) {
        assert_eq!(wakers.len(), self.line.iter().filter(|waiting| waiting.registered).count(), "not all were woken");
        wakers.into_iter().for_each(Waker::wake);
        for waiting in &mut self.line {
            assert_eq!(waiting.woken.count() > 0, waiting.registered);
            waiting.registered = false;
            waiting.woken = Arc::default();
        }
    }

    fn have_ended(&mut self, objects: Vec<(u32, u32, u32)>) {
        for (slot, object, stub) in objects {
            assert_eq!(object, stub);
            self.ending.push(slot);
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.slots.taken()
    }

    /// Those that are not on their way out.
    fn staying(&self) -> usize {
        self.taken() - self.ending.len()
    }

    /// Whoever was told a slot's number is its owner, and nobody else (1).
    pub(super) fn check(&self) {
        self.slots.check();
        let counts = self.slots.counts();
        assert_eq!(counts.lent, self.lent.len() + self.granted.len(), "those that are out (1)");
        assert_eq!(counts.creating, self.creating.len(), "creations (1)");
        assert_eq!(counts.ending, self.ending.len(), "the ending ones (1)");
        assert_eq!(counts.waiting, self.line.len(), "those who wait");
        let of = |slot: u32| &self.slots.entries[slot as usize];
        for (slot, object) in &self.lent {
            assert!(matches!(of(*slot), Entry::Held(Whereabouts::Lent(_), stub) if stub == object), "not lent (1)");
        }
        assert!(self.creating.iter().all(|slot| matches!(of(*slot), Entry::Creating)), "not a creation (1)");
        assert!(self.ending.iter().all(|slot| matches!(of(*slot), Entry::Ending)), "not ending (1)");
    }

    /// Everybody leaves, everything comes back.
    pub(super) fn end(mut self) {
        self.step(&Step::Close);
        self.check();
        while !self.line.is_empty() || !self.granted.is_empty() {
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

/// The one at this index, modulo what there is.
fn pick(count: usize, index: usize) -> Option<usize> {
    (count > 0).then(|| index % count.max(1))
}
