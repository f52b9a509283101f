//! Sequences of operations on one pool, and what must hold after each of them.
//!
//! Nothing is lost: what lives is in use, idle or ending. Nobody waits beside something idle, and no waiter sleeps that
//! could go on. Nobody has an object that another one has, nor one in doubt that was not proved. At the end the pool
//! can lend as many objects as it says, and once it is closed nothing lives any more.
//!
//! The sequences come from a random generator, from the corpus, and from the fuzzer, which compiles this very folder.

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

/// What the pool is told when it is built.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) min_idle: bool,
    pub(crate) always_reset: bool,
    /// Whether the resource takes its handles back without waiting.
    pub(crate) reclaims: bool,
}

/// What can be done to a pool. Numbers choose among what there is, modulo.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Step {
    /// A new `get`, polled once.
    Get,
    TryGet,
    /// One of the pending `get`s, polled so many times.
    Poll(u8, #[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.int_in_range(1..=3))] u8),
    DropGet(u8),
    Put(u8),
    /// As a scope does it; the future is polled so many times and then dropped.
    Release(u8, #[arbitrary(with = exit)] Exit, #[arbitrary(with = few)] u8),
    DropObject(u8),
    /// One that somebody has is dead.
    Kill(u8),
    /// What all objects say of themselves from now on.
    Health(#[arbitrary(with = health)] Health),
    /// What the next call of this verb does.
    Script(#[arbitrary(with = verb)] Verb, Fate),
    Resize(#[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.int_in_range(1..=MOST))] usize),
    Clear,
    Pause,
    Resume,
    /// The future is polled so many times and then dropped.
    Close(#[arbitrary(with = few)] u8),
    /// Tasks run until all of them wait.
    Run,
    /// Past the breaker's pauses, past the proofs' and the releases' timeouts, past all.
    Pass(#[arbitrary(with = |bytes: &mut Unstructured<'_>| bytes.choose(&MILLIS).copied())] u64),
    /// The runtime ends, with all tasks, and everybody goes on inside of what is left of it or outside. If there is
    /// none, another one begins.
    Runtime {
        inside: bool,
    },
}

/// The largest size.
pub(crate) const MOST: usize = 3;
pub(crate) const MILLIS: [u64; 5] = [20, 150, 1_100, 6_000, 61_000];

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Fate {
    Ok,
    Slow,
    Error,
    Permanent,
    Panic,
    Never,
}

impl Fate {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Fate::Ok => Outcome::ok(),
            Fate::Slow => Outcome::ok().after_polls(2),
            Fate::Error => Outcome::error(),
            Fate::Permanent => Outcome::permanent(),
            Fate::Panic => Outcome::panic(),
            Fate::Never => Outcome::never(),
        }
    }
}

fn exit(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Exit> {
    bytes.choose(&[Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked]).copied()
}

fn health(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Health> {
    bytes.choose(&[Health::Ready, Health::Unknown, Health::Dead]).copied()
}

fn verb(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Verb> {
    bytes.choose(&[Verb::Acquire, Verb::Validate, Verb::Release]).copied()
}

fn few(bytes: &mut Unstructured<'_>) -> arbitrary::Result<u8> {
    bytes.int_in_range(0..=3)
}

/// Where the steps are taken.
enum Place {
    Alive(Runtime),
    /// Inside of one that has ended.
    Ended(Handle),
    Outside,
}

/// Plays the steps, one after the other, on one thread.
pub(crate) fn play(start: Start, steps: Vec<Step>) {
    let mut place = Place::Alive(runtime());
    let mut world = World::new(start);
    for step in steps {
        place = match (place, &step) {
            (Place::Alive(runtime), Step::Runtime { inside }) => {
                let handle = runtime.handle().clone();
                drop(runtime);
                if *inside { Place::Ended(handle) } else { Place::Outside }
            }
            (_, Step::Runtime { .. }) => Place::Alive(runtime()),
            (Place::Alive(runtime), _) => {
                runtime.block_on(world.step(&step));
                Place::Alive(runtime)
            }
            // There are no tasks that could run, and no timers.
            (nowhere, Step::Run | Step::Pass(_)) => nowhere,
            (Place::Ended(handle), _) => {
                let entered = handle.enter();
                assert!(poll_once(pin!(world.step(&step))).is_ready());
                drop(entered);
                Place::Ended(handle)
            }
            (Place::Outside, _) => {
                assert!(poll_once(pin!(world.step(&step))).is_ready());
                Place::Outside
            }
        };
        world.check(&step);
    }
    let runtime = if let Place::Alive(runtime) = place { runtime } else { runtime() };
    runtime.block_on(world.end());
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}
