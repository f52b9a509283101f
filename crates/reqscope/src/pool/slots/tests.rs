//! Tests of the state machine alone: random steps of users, waiters, creations and the pool's owner, with a check of
//! every numbered invariant after each step.

mod invariants;
mod step;
mod world;

use std::sync::Arc;
use std::task::Waker;

use proptest::collection::vec;
use proptest::prelude::*;

use self::invariants::Counts;
use self::step::Step;
use self::world::{Machine, Woken, World};
use super::*;

fn steps() -> impl Strategy<Value = Step> {
    let which = || 0..8_usize;
    prop_oneof![
        6 => prop::bool::weighted(0.8).prop_map(Step::Take),
        8 => (0..4_usize).prop_map(Step::Join),
        1 => Just(Step::Rejoin),
        4 => which().prop_map(Step::Register),
        4 => which().prop_map(Step::TakeGrant),
        2 => which().prop_map(Step::Leave),
        6 => (which(), prop::bool::weighted(0.8)).prop_map(|(index, wanted)| Step::Put(index, wanted)),
        3 => which().prop_map(Step::Validate),
        3 => (which(), prop::bool::weighted(0.8)).prop_map(|(index, wanted)| Step::PutValidated(index, wanted)),
        1 => which().prop_map(Step::LendValidated),
        1 => which().prop_map(Step::EndValidated),
        2 => (0..6_u64).prop_map(Step::Pass),
        8 => (1..4_usize, 0..3_usize).prop_map(|(limit, spare)| Step::Begin(limit, spare)),
        5 => which().prop_map(Step::Created),
        1 => which().prop_map(Step::FreeCreating),
        3 => which().prop_map(Step::FreeEnding),
        2 => which().prop_map(Step::EndLate),
        1 => (0..4_usize).prop_map(Step::RemoveIdle),
        1 => Just(Step::ValidateAll),
        1 => (1..5_usize).prop_map(Step::Resize),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => prop::bool::weighted(0.1).prop_map(|close| if close { Step::Close } else { Step::Take(true) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_steps_keep_the_invariants(max in 1..4_usize, steps in vec(steps(), 0..120)) {
        let mut world = World::new(max);
        for step in steps {
            let (occupied, waiting) = (world.occupied(), world.slots.counts().waiting);
            world.step(&step);
            world.check();
            assert!(world.occupied() <= world.slots.max.max(occupied), "too many slots are occupied (2)");
            assert!(!world.slots.is_closed() || world.slots.counts().waiting <= waiting, "a caller joined (5)");
        }
        world.end();
    }
}

/// Puts a new handle into a new slot.
fn create(slots: &mut Machine, handle: u32) -> Put<u32> {
    let slot = slots.begin(Moment::NEVER);
    put_new(slots, slot, handle)
}

fn put_new(slots: &mut Machine, slot: u32, handle: u32) -> Put<u32> {
    *slots.meta(slot) = Some(handle);
    slots.put(slot, handle, |_| true)
}

fn join(slots: &mut Machine, holder: u32) -> Ticket {
    slots.join(holder, false)
}

#[test]
fn handle_returned_last_goes_out_first() {
    let mut slots = Machine::new(2);
    for handle in [1, 2] {
        assert!(matches!(create(&mut slots, handle), Ok(None)));
    }
    assert_eq!(slots.take(0, |_| Some(())), Some((1, 2, ())));
    assert_eq!(slots.take(0, |_| Some(())), Some((0, 1, ())));
    assert_eq!(slots.take(0, |_| Some(())), None);
}

#[test]
fn caller_that_can_create_does_not_count_as_waiting() {
    let mut slots = Machine::new(2);
    for _ in 0..2 {
        assert!(!slots.is_full(0));
        join(&mut slots, 0);
    }
    slots.begin(Moment::NEVER);
    assert!(slots.is_full(0));
    assert_eq!(slots.counts().waiting, 2);
}

// With no waiters allowed, a handle that was returned since its first look at the idle ones would not save it from an error.
#[test]
fn caller_that_finds_an_idle_handle_is_not_turned_away() {
    let mut slots = Machine::new(1);
    assert!(matches!(create(&mut slots, 1), Ok(None)));
    assert!(!slots.is_full(0));
    slots.pause();
    assert!(slots.is_full(0));
}

// The fault: a handle that the pool itself was validating counted as used by another caller.
#[test]
fn caller_whose_handle_is_validated_does_not_count_as_waiting() {
    let mut slots = Machine::new(1);
    assert!(matches!(create(&mut slots, 1), Ok(None)));
    assert_eq!(slots.claim(Work::Validating, |_, _| true).len(), 1);
    assert!(!slots.is_full(0));
}

// The fault: each keepalive of an idle handle made the pool grow.
#[test]
fn handle_that_is_validated_is_as_good_as_idle() {
    let mut slots = Machine::new(2);
    assert!(matches!(create(&mut slots, 1), Ok(None)));
    assert_eq!(slots.claim(Work::Validating, |_, _| true).len(), 1);
    assert!(!slots.wants(9, 1) && slots.wants(9, 2));
}

#[test]
fn unlimited_settings_do_not_overflow() {
    let mut slots = Machine::new(usize::MAX);
    join(&mut slots, 0);
    assert!(slots.wants(usize::MAX, usize::MAX));
    assert!(!slots.is_full(usize::MAX));
}

#[test]
fn resume_grants_idle_handles_to_the_head_of_the_queue() {
    let mut slots = Machine::new(1);
    slots.pause();
    let first = join(&mut slots, 1);
    let woken = Arc::new(Woken::default());
    let second = join(&mut slots, 2);
    drop(slots.waiters.register(&second, Waker::from(Arc::clone(&woken))));
    assert!(matches!(create(&mut slots, 7), Ok(None)));
    slots.resume().into_iter().for_each(Waker::wake);
    assert_eq!(slots.waiters.take(&first), Some((0, 7)));
    // The second waiter may begin a creation, if there is a free slot.
    assert_eq!(woken.count(), 1);
}

// The fault: a handle that was ending counted as staying, so that another one was released in its place.
#[test]
fn shrinking_releases_only_the_surplus() {
    let mut slots = Machine::new(3);
    assert!(matches!(create(&mut slots, 1), Ok(None)));
    assert!(matches!(create(&mut slots, 2), Ok(None)));
    let third = slots.begin(Moment::NEVER);
    let removed = slots.resize(2);
    assert_eq!(removed, [(0, 1)]);
    assert_eq!(slots.resize(2), []);
    assert!(matches!(put_new(&mut slots, third, 3), Ok(None)));
    assert_eq!(slots.counts(), Counts { max: 2, idle: 2, ending: 1, ..Counts::default() });
}

#[test]
fn surplus_after_a_resize_is_refused_on_return() {
    let mut slots = Machine::new(2);
    assert!(matches!(create(&mut slots, 1), Ok(None)) && matches!(create(&mut slots, 2), Ok(None)));
    assert!(slots.take(0, |_| Some(())).is_some() && slots.take(0, |_| Some(())).is_some());
    assert_eq!(slots.resize(1), []);
    assert!(matches!(slots.put(1, 2, |_| true), Err(2)));
    assert!(matches!(slots.put(0, 1, |_| true), Ok(None)));
}

#[test]
fn slot_that_was_given_up_takes_nothing_until_it_is_freed() {
    let mut slots = Machine::new(1);
    let at = |millis| Moment::ZERO.after(Duration::from_millis(millis));
    let late = slots.begin(at(5));
    for (millis, given_up) in [(4, vec![]), (100, vec![]), (109, vec![]), (110, vec![late])] {
        assert_eq!(slots.give_up(at(millis), Duration::from_millis(10)), given_up, "at {millis}");
    }
    assert_eq!(slots.occupied(), 0);
    let next = slots.begin(Moment::NEVER);
    assert!(late != next && !slots.lend(late, 0));
    assert!(matches!(put_new(&mut slots, late, 1), Err(1)));
    assert_eq!(slots.meta(late).take(), Some(1));
    slots.free(late);
    assert_eq!(slots.counts(), Counts { max: 1, creating: 1, ..Counts::default() });
}

/// Looks at the idle handles as `Pool::retain` does, with a user at work between two pieces.
///
/// The fault: a handle was searched for among all idle ones, so that the time for all of them was quadratic.
#[test]
fn retain_finds_each_piece_at_the_front() {
    let mut slots = Machine::new(8);
    for handle in 0..8 {
        assert!(matches!(create(&mut slots, handle), Ok(None)));
    }
    for piece in slots.idle_slots().chunks(2) {
        assert!(slots.idle.starts_with(piece), "it is found by a search");
        let selected = |slot, _: &_| piece.contains(&slot);
        for (slot, handle) in slots.claim(Work::Validating, selected) {
            let put = slots.put(slot, handle, |_| handle % 3 != 0);
            assert_eq!(matches!(put, Ok(None)), handle % 3 != 0);
        }
        let (slot, handle, ()) = slots.take(0, |_| Some(())).expect("most are kept");
        assert!(matches!(slots.put(slot, handle, |_| true), Ok(None)));
    }
    assert_eq!(slots.idle_slots(), [1, 2, 4, 5, 7]);
}
