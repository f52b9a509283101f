//! Sequences of operations on one scope, checked against a small model.
//!
//! After each step: the counters balance, no handle was released twice or used after its release, each handle has at
//! most one holder, no waiter sleeps that could go on, no caller gets a handle after the close, and without a runtime
//! no work is left to run. At the end every handle was released once, with the exit that the model predicted.
//!
//! The sequences come from a random generator, from the corpus, and from the fuzzer, which compiles this folder too.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod random;
mod world;

use std::pin::pin;

use arbitrary::{Arbitrary, Unstructured};
use reqscope::Exit;
use reqscope_testkit::{Outcome, poll_once};
use tokio::runtime::{Builder, Runtime};

use world::World;

/// An operation on the scope. A number is an index into what exists, modulo its count.
///
/// The order of the variants is the encoding of the corpus.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Step {
    /// Begins a `get` of this resource and polls it once.
    Get(u8),
    TryGet(u8),
    /// Polls one of the pending `get`s so many times.
    Poll(u8, #[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.int_in_range(1..=3))] u8),
    DropGet(u8),
    Use(u8),
    DropGuard(u8),
    /// Drops a guard whose handle died, as after an operation that was cut.
    KillGuard(u8),
    /// Drops a guard in a panic of its holder.
    UnwindGuard(u8),
    Detach(u8),
    /// Ends a lease with this exit; `None` drops it.
    EndLease(u8, #[arbitrary(with = maybe_exit)] Option<Exit>),
    MarkFailed,
    /// Scripts the next `acquire` of this resource, or its next `release`.
    Script {
        resource: u8,
        acquire: bool,
        outcome: Behavior,
    },
    /// Lets the next acquisition of this resource succeed without waiting.
    Ready(u8),
    /// Runs all tasks until they wait.
    Run,
    /// Advances the clock.
    Seconds(#[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.choose(&SECONDS).copied())] u64),
    /// Closes the scope and polls the future so many times before dropping it; `None` awaits it.
    Close(#[arbitrary(with = exit)] Exit, #[arbitrary(with = maybe_polls)] Option<u8>),
    DropScope,
    /// Ends the runtime with all its tasks, or starts another one if there is none.
    Runtime,
}

/// Passes no deadline, those of 5 s, and all of them.
const SECONDS: [u64; 3] = [1, 6, 61];

/// What a scripted call of the resource does.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Behavior {
    Ok,
    Slow,
    Error,
    Panic,
    Never,
}

impl Behavior {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Behavior::Ok => Outcome::ok(),
            Behavior::Slow => Outcome::ok().after_polls(2),
            Behavior::Error => Outcome::error(),
            Behavior::Panic => Outcome::panic(),
            Behavior::Never => Outcome::never(),
        }
    }
}

fn exit(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Exit> {
    bytes.choose(&[Exit::Completed, Exit::Failed, Exit::Cancelled]).copied()
}

fn maybe_exit(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Option<Exit>> {
    Ok(if bytes.arbitrary()? { Some(exit(bytes)?) } else { None })
}

fn maybe_polls(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Option<u8>> {
    Ok(if bytes.arbitrary()? { Some(bytes.int_in_range(0..=7)?) } else { None })
}

/// Plays the steps one after another on one thread.
pub(crate) fn play(steps: Vec<Step>) {
    let mut alive = Some(runtime());
    let mut world = World::new();
    for step in steps {
        match (&alive, &step) {
            (Some(_), Step::Runtime) => alive = None,
            (None, Step::Runtime) => alive = Some(runtime()),
            (Some(runtime), _) => runtime.block_on(world.step(&step)),
            // Without a runtime there are no tasks and no timers.
            (None, Step::Run | Step::Seconds(_)) => {}
            // Every step except `Close` ends at the first poll. `Close` is dropped after it.
            (None, _) => drop(poll_once(pin!(world.step(&step)))),
        }
        world.check(&step);
        if alive.is_none() {
            world.check_that_nothing_runs(&step);
        }
    }
    alive.unwrap_or_else(runtime).block_on(world.end());
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}
