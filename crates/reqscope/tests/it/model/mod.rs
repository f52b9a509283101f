//! Random sequences of operations on one scope, against a small model of what must come of them.
//!
//! After each step: the books balance, nothing was released twice or used after its release, each handle has at most
//! one holder, no waiter sleeps that could go on, and after the close nobody gets anything. At the end every handle
//! was given back once, with the exit that the model foretold.

mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use reqscope::Exit;
use reqscope_testkit::Outcome;

use world::World;

/// What can be done to a scope. Numbers choose among what there is, modulo.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A new `get` of this resource, polled once.
    Get(usize),
    TryGet(usize),
    /// One of the pending `get`s, polled so many times.
    Poll(usize, usize),
    DropGet(usize),
    Use(usize),
    DropGuard(usize),
    /// Its operation was cut: it comes back dead.
    KillGuard(usize),
    Detach(usize),
    /// `None`: dropped.
    EndLease(usize, Option<Exit>),
    MarkFailed,
    /// What the next `acquire`, or else the next `release`, of this resource does.
    Script {
        resource: usize,
        acquire: bool,
        outcome: Fate,
    },
    /// Tasks run until all of them wait.
    Run,
    Seconds(u64),
    /// The future is polled so many times and then dropped; `None`: awaited to its end.
    Close(Exit, Option<usize>),
    DropScope,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Ok,
    Slow,
    Error,
    Panic,
    Never,
}

impl Fate {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Fate::Ok => Outcome::ok(),
            Fate::Slow => Outcome::ok().after_polls(2),
            Fate::Error => Outcome::error(),
            Fate::Panic => Outcome::panic(),
            Fate::Never => Outcome::never(),
        }
    }
}

fn exits() -> impl Strategy<Value = Exit> {
    prop_oneof![3 => Just(Exit::Completed), 1 => Just(Exit::Failed), 1 => Just(Exit::Cancelled)]
}

fn steps() -> impl Strategy<Value = Step> {
    let which = || 0..6_usize;
    let fate = prop_oneof![
        3 => Just(Fate::Ok), 3 => Just(Fate::Slow), 2 => Just(Fate::Error), 1 => Just(Fate::Panic), 1 => Just(Fate::Never),
    ];
    prop_oneof![
        6 => which().prop_map(Step::Get),
        2 => which().prop_map(Step::TryGet),
        6 => (which(), 1..4_usize).prop_map(|(get, polls)| Step::Poll(get, polls)),
        2 => which().prop_map(Step::DropGet),
        2 => which().prop_map(Step::Use),
        5 => which().prop_map(Step::DropGuard),
        1 => which().prop_map(Step::KillGuard),
        2 => which().prop_map(Step::Detach),
        2 => (which(), prop::option::of(exits())).prop_map(|(lease, exit)| Step::EndLease(lease, exit)),
        1 => Just(Step::MarkFailed),
        6 => (which(), any::<bool>(), fate)
            .prop_map(|(resource, acquire, outcome)| Step::Script { resource, acquire, outcome }),
        4 => Just(Step::Run),
        1 => prop_oneof![Just(1), Just(6), Just(61)].prop_map(Step::Seconds),
        1 => (exits(), prop::option::of(0..8_usize)).prop_map(|(exit, polls)| Step::Close(exit, polls)),
        1 => Just(Step::DropScope),
    ]
}

pub(crate) fn play(steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new();
        for step in steps {
            world.step(&step).await;
            world.check(&step);
        }
        world.end().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_a_scope_the_laws_hold(steps in vec(steps(), 0..60)) {
        play(steps);
    }
}
