//! Tests of the state machine alone: random steps of users, waiters, creations and the pool's owner, with a check of
//! every numbered invariant after each step.

mod invariants;
mod step;
mod world;

use std::sync::Arc;
use std::task::Waker;

use proptest::collection::vec;
use proptest::prelude::*;

use self::step::Step;
use self::world::{Machine, Woken, World};
use super::*;

fn steps() -> impl Strategy<Value = Step> {
    let which = || 0..8_usize;
    prop_oneof![
        6 => prop::bool::weighted(0.8).prop_map(Step::Take),
        6 => (0..4_usize).prop_map(Step::Join),
        1 => Just(Step::Rejoin),
        4 => (0..4_usize).prop_map(Step::Queue),
        2 => Just(Step::Visit),
        4 => which().prop_map(Step::Register),
        4 => which().prop_map(Step::TakeGrant),
        2 => which().prop_map(Step::Leave),
        6 => (which(), prop::bool::weighted(0.8)).prop_map(|(index, wanted)| Step::Put(index, wanted)),
        1 => which().prop_map(Step::End),
        8 => (1..4_usize, 0..3_usize).prop_map(|(limit, spare)| Step::Begin(limit, spare)),
        5 => which().prop_map(Step::Created),
        1 => which().prop_map(Step::FreeCreating),
        3 => which().prop_map(Step::FreeEnding),
        1 => (0..4_usize).prop_map(Step::RemoveIdle),
        1 => Just(Step::TakeAll),
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
            assert!(world.occupied() <= world.slots.max().max(occupied), "too many slots are occupied (2)");
            assert!(!world.slots.is_closed() || world.slots.counts().waiting <= waiting, "a caller joined (5)");
        }
        world.end();
    }
}

#[test]
fn handle_returned_last_goes_out_first() {
    let mut slots = Machine::new(2);
    for handle in [1, 2] {
        let slot = slots.begin();
        assert!(matches!(slots.created(slot, handle, handle, 0), Put::Idle));
    }
    assert_eq!(slots.take(0, |_| true), Some((1, 2)));
    assert_eq!(slots.take(0, |_| true), Some((0, 1)));
    assert_eq!(slots.take(0, |_| true), None);
}

#[test]
fn caller_that_can_create_does_not_count_as_waiting() {
    let mut slots = Machine::new(2);
    let join = |slots: &mut Machine| slots.join(0, 0, false).map(drop);
    assert_eq!(join(&mut slots), Ok(()));
    slots.begin();
    assert_eq!(join(&mut slots), Ok(()));
    assert_eq!(join(&mut slots), Err(JoinError::Full));
    assert_eq!(slots.counts().waiting, 2);
}

#[test]
fn resume_grants_idle_handles_to_the_head_of_the_queue() {
    let mut slots = Machine::new(1);
    slots.pause();
    let (first, second) = (slots.join(1, 9, false).expect("open"), slots.join(2, 9, false).expect("open"));
    let slot = slots.begin();
    assert!(matches!(slots.created(slot, 7, 7, 0), Put::Idle));
    let woken = Arc::new(Woken::default());
    assert!(slots.waiters().register(&second, Waker::from(Arc::clone(&woken))).is_none());
    slots.resume().into_iter().for_each(Waker::wake);
    assert_eq!(slots.waiters().take(&first), Some((slot, 7)));
    // The second waiter may begin a creation, if there is a free slot.
    assert_eq!(woken.count(), 1);
}

// The fault: a handle that was ending counted as staying, so that another one was released in its place.
#[test]
fn shrinking_releases_only_the_surplus() {
    let mut slots = Machine::new(3);
    let (first, second, third) = (slots.begin(), slots.begin(), slots.begin());
    assert!(matches!(slots.created(first, 1, 1, 0), Put::Idle));
    assert!(matches!(slots.created(second, 2, 2, 0), Put::Idle));
    assert_eq!(slots.resize(2), [(first, 1, 1)]);
    assert_eq!(slots.resize(2), []);
    assert!(matches!(slots.created(third, 3, 3, 0), Put::Idle));
    assert_eq!(slots.counts(), Counts { max: 2, idle: 2, ending: 1, ..Counts::default() });
}

#[test]
fn surplus_after_a_resize_is_refused_on_return() {
    let mut slots = Machine::new(2);
    let (first, second) = (slots.begin(), slots.begin());
    assert!(
        matches!(slots.created(first, 1, 1, 0), Put::Idle) && matches!(slots.created(second, 2, 2, 0), Put::Idle)
    );
    assert!(slots.take(0, |_| true).is_some() && slots.take(0, |_| true).is_some());
    assert_eq!(slots.resize(1), []);
    assert!(matches!(slots.put(second, 2, |_| true), Put::Refused(2, 2)));
    assert!(matches!(slots.put(first, 1, |_| true), Put::Idle));
}
