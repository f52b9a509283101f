//! Sequences of operations on one scope, against a small model of what must come of them.
//!
//! After each step: the books balance, nothing was released twice or used after its release, each handle has at most
//! one holder, no waiter sleeps that could go on, after the close nobody gets anything, and where there is no runtime
//! nothing is left to run. At the end every handle was given back once, with the exit that the model foretold.
//!
//! The sequences come from a random generator, from the corpus, and from the fuzzer, which compiles this very folder.

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

/// What can be done to a scope. Numbers choose among what there is, modulo.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Step {
    /// A new `get` of this resource, polled once.
    Get(u8),
    TryGet(u8),
    /// One of the pending `get`s, polled so many times.
    Poll(u8, #[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.int_in_range(1..=3))] u8),
    DropGet(u8),
    Use(u8),
    DropGuard(u8),
    /// Its operation was cut: it comes back dead.
    KillGuard(u8),
    /// Its holder panicked.
    UnwindGuard(u8),
    Detach(u8),
    /// `None`: dropped.
    EndLease(u8, #[arbitrary(with = maybe_exit)] Option<Exit>),
    MarkFailed,
    /// What the next `acquire`, or else the next `release`, of this resource does.
    Script {
        resource: u8,
        acquire: bool,
        outcome: Fate,
    },
    /// The next acquisition of this resource finds a handle without waiting.
    Ready(u8),
    /// Tasks run until all of them wait.
    Run,
    Seconds(#[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.choose(&SECONDS).copied())] u64),
    /// The future is polled so many times and then dropped; `None`: awaited to its end.
    Close(#[arbitrary(with = exit)] Exit, #[arbitrary(with = maybe_polls)] Option<u8>),
    DropScope,
    /// The runtime ends, with all tasks. If there is none, another one begins.
    Runtime,
}

/// Past no deadline, past those of 5 s, past all.
const SECONDS: [u64; 3] = [1, 6, 61];

#[derive(Arbitrary, Clone, Copy, Debug)]
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

fn exit(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Exit> {
    bytes.choose(&[Exit::Completed, Exit::Failed, Exit::Cancelled]).copied()
}

fn maybe_exit(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Option<Exit>> {
    Ok(if bytes.arbitrary()? { Some(exit(bytes)?) } else { None })
}

fn maybe_polls(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Option<u8>> {
    Ok(if bytes.arbitrary()? { Some(bytes.int_in_range(0..=7)?) } else { None })
}

/// Plays the steps, one after the other, on one thread.
pub(crate) fn play(steps: Vec<Step>) {
    let mut alive = Some(runtime());
    let mut world = World::new();
    for step in steps {
        match (&alive, &step) {
            (Some(_), Step::Runtime) => alive = None,
            (None, Step::Runtime) => alive = Some(runtime()),
            (Some(runtime), _) => runtime.block_on(world.step(&step)),
            // There are no tasks that could run, and no timers.
            (None, Step::Run | Step::Seconds(_)) => {}
            // All but a `close` are over at the first poll. That one is dropped then.
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
