//! Many tasks on few threads that do everything at once, while the backend does everything wrong: no slot is lost, and no
//! handle has two users or two ends.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::{Exit, Lease, Pooled};
use reqscope_testkit::{Outcome, Probe, Verb, cancel_at, poll_once, quiet_panic};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::rig::Rig;
use crate::support::runtime;

const TASKS: u64 = 32;
const SIZE: usize = 6;

/// A random number generator that needs no dependency: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
}

/// Who has which handle.
#[derive(Default)]
struct Users(Mutex<HashSet<u64>>);

impl Users {
    fn take(&self, handle: &Pooled<Probe>) {
        assert!(self.0.lock().insert(handle.id()), "handle {} has two users", handle.id());
    }

    fn give(&self, id: u64) {
        self.0.lock().remove(&id);
    }
}

fn outcome(random: &mut Random) -> Outcome {
    let outcome = match random.below(10) {
        0 => Outcome::error(),
        1 => Outcome::permanent(),
        2 => Outcome::panic(),
        3 => Outcome::never(),
        _ => Outcome::ok(),
    };
    match random.below(3) {
        0 => outcome,
        1 => outcome.after_polls(random.below(3) as usize),
        _ => outcome.after(Duration::from_micros(random.below(3_000))),
    }
}

/// One step of a task.
async fn step(rig: &Rig, users: &Users, random: &mut Random) {
    let (pool, probe) = (&rig.pool, &rig.probe);
    match random.below(20) {
        0 => drop(pool.retain(|handle| handle.id() % 3 != 0)),
        1 => pool.clear(),
        2 => pool.resize(1 + random.below(SIZE as u64) as usize),
        3 => {
            pool.pause();
            tokio::task::yield_now().await;
            pool.resume();
        }
        4 => drop(cancel_at(random.below(4) as usize, pool.warm()).await),
        5 => {
            let verb = [Verb::Acquire, Verb::Validate, Verb::Release][random.below(3) as usize];
            // For all calls until another task sets another one, because nothing of it may be left at the end.
            probe.on(verb).always(outcome(random));
        }
        6 => drop(pool.holders()),
        7 => tokio::time::sleep(Duration::from_micros(random.below(2_000))).await,
        _ => {
            let polls = random.below(6) as usize;
            let got = match random.below(4) {
                0 => pool.try_get(),
                1 => cancel_at(polls, pool.get()).await.and_then(Result::ok),
                _ => pool.get().await.ok(),
            };
            let Some(handle) = got else { return tokio::task::yield_now().await };
            end(rig, users, random, handle).await;
        }
    }
}

/// Uses a handle and gives it back in one of all ways.
async fn end(rig: &Rig, users: &Users, random: &mut Random, mut handle: Pooled<Probe>) {
    users.take(&handle);
    handle.use_once();
    if random.below(2) == 0 {
        tokio::task::yield_now().await;
    }
    let id = handle.id();
    match random.below(8) {
        0 => {
            handle.kill();
            users.give(id);
            drop(handle);
        }
        1 => {
            users.give(id);
            let exit = [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked][random.below(4) as usize];
            let release = reqscope::Resource::release(&*rig.pool, handle, exit);
            drop(cancel_at(random.below(4) as usize, release).await);
        }
        2 => {
            users.give(id);
            let lease = Pooled::detach(handle);
            drop(Lease::complete(lease).await);
        }
        3 => {
            users.give(id);
            rig.pool.discard(handle);
        }
        4 => {
            users.give(id);
            let unwinds = std::panic::AssertUnwindSafe(|| {
                let _held = handle;
                quiet_panic("in the middle of its use");
            });
            std::panic::catch_unwind(unwinds).unwrap_err();
        }
        5 | 6 => {
            users.give(id);
            drop(handle);
        }
        _ => {
            users.give(id);
            rig.pool.put(handle);
        }
    }
}

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// Lets all tasks play, and then a working backend serve as many users as there are slots.
fn storm(seed: u64, steps: u64) {
    let rig = Arc::new(Rig::configured(Probe::new(), |builder| {
        let short = Duration::from_millis(20);
        builder
            .max_size(SIZE)
            .min_idle((seed % 3) as usize)
            .acquire_timeout(3 * short)
            .create_timeout(short)
            .validate_timeout(short)
            .release_timeout(short)
            .validate_after(Duration::from_millis(seed % 2 * 5))
            .keepalive(Some(Duration::from_millis(30)).filter(|_| seed % 2 == 0))
    }));
    let users = Arc::new(Users::default());
    let (runtimes, mut tasks) = ([threads(), threads()], JoinSet::new());
    for task in 0..TASKS {
        let (rig, users, mut random) = (Arc::clone(&rig), Arc::clone(&users), Random(1 + seed * 1_000 + task));
        let work = async move {
            for _ in 0..steps {
                step(&rig, &users, &mut random).await;
            }
        };
        tasks.spawn_on(work, runtimes[(task % 2) as usize].handle());
    }
    // Panics with the panic of a task.
    assert_eq!(runtimes[0].block_on(tasks.join_all()).len() as u64, TASKS);
    drop(runtimes);
    let Ok(rig) = Arc::try_unwrap(rig) else { panic!("a task has ended and holds the pool") };
    runtime().block_on(async {
        for verb in [Verb::Acquire, Verb::Validate, Verb::Release] {
            rig.probe.on(verb).always(Outcome::ok());
        }
        rig.pool.resume();
        rig.pool.resize(SIZE);
        // Longer than every timeout here, so that hanging calls have timed out and the breaker lets a creation through.
        tokio::time::sleep(Duration::from_secs(120)).await;
        let [in_use, _, creating, ending, waiting] = rig.counts();
        assert_eq!([in_use, creating, ending, waiting], [0; 4], "a slot is lost: {:?}", rig.pool);
        let all = rig.take_all(SIZE).await;
        assert!(poll_once(pin!(rig.pool.get())).is_pending(), "there is one handle too many");
        rig.put_all(all);
        let report = rig.pool.close(Duration::from_secs(60)).await;
        assert_eq!((report.live, rig.counts()), (0, [0; 5]), "{report:?}");
        let counts = rig.probe.counts();
        assert_eq!((counts.live(), counts.acquiring), (0, 0), "{counts:?}");
        assert_eq!((counts.double_released, counts.used_after_release), (0, 0), "{counts:?}");
    });
}

/// More of them, with other random numbers, run with `REQSCOPE_STORMS=60`.
#[test]
fn storm_on_two_runtimes_loses_no_slot() {
    let rounds: u64 = std::env::var("REQSCOPE_STORMS").map_or(1, |rounds| rounds.parse().unwrap());
    for seed in 0..rounds {
        storm(seed, 60);
    }
}
