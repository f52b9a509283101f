use proptest::collection::vec;
use proptest::prelude::*;
use reqscope::{Exit, Health};
use reqscope_testkit::Verb;

use super::{Behavior, MAX_SIZE, MILLIS, Start, Step, play};

fn starts() -> impl Strategy<Value = Start> {
    any::<[bool; 4]>().prop_map(|[min_idle, always_reset, reclaims, keepalive]| Start {
        min_idle,
        always_reset,
        reclaims,
        keepalive,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let which = || 0..6_u8;
    let exit = prop_oneof![Just(Exit::Completed), Just(Exit::Failed), Just(Exit::Cancelled), Just(Exit::Panicked)];
    let health = prop_oneof![
        1 => Just(Health::Clean), 3 => Just(Health::Ready), 1 => Just(Health::Unknown), 1 => Just(Health::Dirty),
        1 => Just(Health::Dead),
    ];
    let verb = prop_oneof![2 => Just(Verb::Acquire), 1 => Just(Verb::Validate), 1 => Just(Verb::Release)];
    let behavior = prop_oneof![
        1 => Just(Behavior::Ok), 3 => Just(Behavior::Slow), 2 => Just(Behavior::Error), 1 => Just(Behavior::Permanent),
        1 => Just(Behavior::Panic), 1 => Just(Behavior::Never),
    ];
    prop_oneof![
        10 => Just(Step::Get),
        2 => Just(Step::TryGet),
        8 => (which(), 1..4_u8).prop_map(|(get, polls)| Step::Poll(get, polls)),
        2 => which().prop_map(Step::DropGet),
        6 => which().prop_map(Step::Put),
        2 => (which(), exit, 0..4_u8).prop_map(|(handle, exit, polls)| Step::Release(handle, exit, polls)),
        2 => which().prop_map(Step::DropHandle),
        1 => which().prop_map(Step::Kill),
        1 => health.prop_map(Step::Health),
        5 => (verb, behavior).prop_map(|(verb, behavior)| Step::Script(verb, behavior)),
        2 => (1..=MAX_SIZE).prop_map(Step::Resize),
        1 => Just(Step::Clear),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => prop::bool::weighted(0.2).prop_map(|close| if close { Step::Close(1) } else { Step::Get }),
        5 => Just(Step::Run),
        2 => prop::sample::select(&MILLIS[..]).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(|inside| Step::Runtime { inside }),
        2 => any::<[bool; 2]>().prop_map(|[odd, panics]| Step::Retain { odd, panics }),
        2 => Just(Step::Warm),
        2 => prop::sample::select(&MILLIS[..]).prop_map(Step::GetTimeout),
        1 => which().prop_map(Step::Discard),
        1 => which().prop_map(Step::Detach),
        1 => prop::sample::select(&MILLIS[..]).prop_map(Step::ReplaceAll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_steps_on_a_pool_keep_the_laws(start in starts(), steps in vec(steps(), 0..60)) {
        play(start, steps);
    }
}
