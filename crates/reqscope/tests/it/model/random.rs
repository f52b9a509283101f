use proptest::collection::vec;
use proptest::prelude::*;
use reqscope::Exit;

use super::{Behavior, SECONDS, Step, play};

fn exits() -> impl Strategy<Value = Exit> {
    prop_oneof![3 => Just(Exit::Completed), 1 => Just(Exit::Failed), 1 => Just(Exit::Cancelled)]
}

fn steps() -> impl Strategy<Value = Step> {
    let which = || 0..6_u8;
    let behavior = prop_oneof![
        3 => Just(Behavior::Ok), 3 => Just(Behavior::Slow), 2 => Just(Behavior::Error),
        1 => Just(Behavior::Panic), 1 => Just(Behavior::Never),
    ];
    prop_oneof![
        6 => which().prop_map(Step::Get),
        2 => which().prop_map(Step::TryGet),
        6 => (which(), 1..4_u8).prop_map(|(get, polls)| Step::Poll(get, polls)),
        2 => which().prop_map(Step::DropGet),
        2 => which().prop_map(Step::Use),
        5 => which().prop_map(Step::DropGuard),
        1 => which().prop_map(Step::KillGuard),
        1 => which().prop_map(Step::UnwindGuard),
        2 => which().prop_map(Step::Detach),
        2 => (which(), prop::option::of(exits())).prop_map(|(lease, exit)| Step::EndLease(lease, exit)),
        1 => Just(Step::MarkFailed),
        6 => (which(), any::<bool>(), behavior)
            .prop_map(|(resource, acquire, outcome)| Step::Script { resource, acquire, outcome }),
        2 => which().prop_map(Step::Ready),
        4 => Just(Step::Run),
        1 => prop::sample::select(&SECONDS[..]).prop_map(Step::Seconds),
        1 => (exits(), prop::option::of(0..8_u8)).prop_map(|(exit, polls)| Step::Close(exit, polls)),
        1 => Just(Step::DropScope),
        1 => Just(Step::Runtime),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_steps_on_a_scope_keep_the_laws(steps in vec(steps(), 0..60)) {
        play(steps);
    }
}
