//! Sequences of operations on one pool, and what must hold after each of them.
//!
//! After each step: every live handle is in use, idle or ending, no caller waits while a handle is idle, no waiter
//! sleeps that could go on, no handle has two users, a handle in doubt was validated before its next use, and no handle
//! is lent that left the pool. At the end the pool lends as many handles as its size, and once it is closed no handle is alive.
//!
//! The sequences come from a random generator, from the corpus, and from the fuzzer, which compiles this folder too.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod random;
mod world;

use std::pin::pin;

use arbitrary::{Arbitrary, Unstructured};
use reqscope::{Exit, Health};
use reqscope_testkit::{Outcome, Verb, poll_once};
use tokio::runtime::{Builder, Handle, Runtime};

use world::World;

/// The settings of the pool.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) min_idle: bool,
    pub(crate) always_reset: bool,
    /// Whether the resource reclaims its handles without waiting.
    pub(crate) reclaims: bool,
    /// Whether idle handles are validated once a second.
    pub(crate) keepalive: bool,
}

/// An operation on the pool. A number is an index into what exists, modulo its count.
///
/// The order of the variants is the encoding of the corpus.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Step {
    /// Begins a `get` and polls it once.
    Get,
    TryGet,
    /// Polls one of the pending `get`s so many times.
    Poll(u8, #[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.int_in_range(1..=3))] u8),
    DropGet(u8),
    Put(u8),
    /// Releases a handle as a scope does, and polls the future so many times before dropping it.
    Release(u8, #[arbitrary(with = exit)] Exit, #[arbitrary(with = few)] u8),
    DropHandle(u8),
    /// Kills a handle that is in use.
    Kill(u8),
    /// Sets the health that all handles report from now on.
    Health(#[arbitrary(with = health)] Health),
    /// Scripts the next call of this verb.
    Script(#[arbitrary(with = verb)] Verb, Behavior),
    Resize(#[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.int_in_range(1..=MAX_SIZE))] usize),
    Clear,
    Pause,
    Resume,
    /// Closes the pool and polls the future so many times before dropping it.
    Close(#[arbitrary(with = few)] u8),
    /// Runs all tasks until they wait.
    Run,
    /// Advances the clock.
    Pass(#[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.choose(&MILLIS).copied())] u64),
    /// Ends the runtime with all its tasks; later steps run inside its dead context or outside of any runtime. If there
    /// is no runtime, another one starts.
    Runtime {
        inside: bool,
    },
    /// Keeps the idle handles with an odd number, or those with an even one. The predicate may panic at the first handle.
    Retain {
        odd: bool,
        panics: bool,
    },
    /// Begins to warm the pool and polls that once. It is polled again after each [`Step::Run`] and [`Step::Pass`], and
    /// dropped by the next step of this kind.
    Warm,
    /// Begins a `get` with a timeout of its own and polls it once.
    GetTimeout(#[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.choose(&MILLIS).copied())] u64),
    Discard(u8),
    /// Takes a handle out of the pool and drops its lease.
    Detach(u8),
    /// Replaces all handles, spread over a time.
    ReplaceAll(#[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.choose(&MILLIS).copied())] u64),
}

/// The largest size of the pool.
pub(crate) const MAX_SIZE: usize = 3;
/// Passes the breaker's pauses, the timeouts of validations and releases, and all of them.
pub(crate) const MILLIS: [u64; 5] = [20, 150, 1_100, 6_000, 61_000];

/// What a scripted call of the resource does.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Behavior {
    Ok,
    Slow,
    Error,
    Permanent,
    Panic,
    Never,
}

impl Behavior {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Behavior::Ok => Outcome::ok(),
            Behavior::Slow => Outcome::ok().after_polls(2),
            Behavior::Error => Outcome::error(),
            Behavior::Permanent => Outcome::permanent(),
            Behavior::Panic => Outcome::panic(),
            Behavior::Never => Outcome::never(),
        }
    }
}

fn exit(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Exit> {
    bytes.choose(&[Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked]).copied()
}

fn health(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Health> {
    bytes.choose(&[Health::Clean, Health::Ready, Health::Unknown, Health::Dirty, Health::Dead]).copied()
}

fn verb(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Verb> {
    bytes.choose(&[Verb::Acquire, Verb::Validate, Verb::Release]).copied()
}

fn few(bytes: &mut Unstructured<'_>) -> arbitrary::Result<u8> {
    bytes.int_in_range(0..=3)
}

/// The runtime context in which a step runs.
enum Context {
    Running(Runtime),
    /// Inside a runtime that has ended.
    Ended(Handle),
    Outside,
}

/// Plays the steps one after another on one thread.
pub(crate) fn play(start: Start, steps: Vec<Step>) {
    let mut context = Context::Running(runtime());
    let mut world = World::new(start);
    for step in steps {
        context = match (context, &step) {
            (Context::Running(runtime), Step::Runtime { inside }) => {
                let handle = runtime.handle().clone();
                drop(runtime);
                if *inside { Context::Ended(handle) } else { Context::Outside }
            }
            (_, Step::Runtime { .. }) => Context::Running(runtime()),
            (Context::Running(runtime), _) => {
                runtime.block_on(world.step(&step));
                Context::Running(runtime)
            }
            // Without a runtime there are no tasks and no timers.
            (context, Step::Run | Step::Pass(_)) => context,
            (Context::Ended(handle), _) => {
                let entered = handle.enter();
                assert!(poll_once(pin!(world.step(&step))).is_ready());
                drop(entered);
                Context::Ended(handle)
            }
            (Context::Outside, _) => {
                assert!(poll_once(pin!(world.step(&step))).is_ready());
                Context::Outside
            }
        };
        world.check(&step);
    }
    let runtime = if let Context::Running(runtime) = context { runtime } else { runtime() };
    runtime.block_on(world.end());
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}
