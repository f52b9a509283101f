//! L14: how long a handle was idle, and how old it is, is decided by a clock that advances whether or not any task runs.
//!
//! The fault: a task of the pool advanced the clock. While its runtime was not driven, its thread was blocked or the
//! process was stopped, no time passed, and a handle idle for 3.3 s with `validate_after` of 1 s was lent without a
//! validation.

use std::time::{Duration, Instant};

use reqscope::Pool;
use reqscope::pool::PoolBuilder;
use reqscope_testkit::{Probe, Verb};
use tokio::runtime::{Builder, Runtime};

use super::aging::without_limits;
use super::rig::Rig;
use crate::support::real_time_runtime;

/// What the settings under test measure.
const LIMIT: Duration = Duration::from_millis(150);
/// Longer than the limit, and than several rounds of the janitor.
const BLOCKED: Duration = Duration::from_millis(400);

/// Leaves one handle idle.
async fn leave_idle(pool: &Pool<Probe>) {
    pool.put(pool.get().await.unwrap());
}

/// Checks the handle out and returns it. Returns the id of the handle, and how often handles were validated so far.
async fn next(pool: &Pool<Probe>, probe: &Probe) -> (u64, u64) {
    let handle = pool.get().await.unwrap();
    let id = handle.id();
    pool.put(handle);
    (id, probe.on(Verb::Validate).calls())
}

/// Leaves a handle idle, blocks the thread of the only runtime, and returns what the next check-out gets.
fn after_a_blocked_thread(configure: impl FnOnce(PoolBuilder<Probe>) -> PoolBuilder<Probe>) -> (u64, u64) {
    let probe = Probe::new();
    let pool = configure(without_limits().validate_after(Duration::MAX)).build(probe.clone());
    real_time_runtime().block_on(async {
        leave_idle(&pool).await;
        std::thread::sleep(BLOCKED);
        next(&pool, &probe).await
    })
}

#[test]
fn handle_idle_while_the_thread_was_blocked_is_validated() {
    assert_eq!(after_a_blocked_thread(|builder| builder.validate_after(LIMIT)), (0, 1));
}

/// It is replaced, or validated if nothing has replaced it yet.
#[test]
fn handle_aged_on_a_blocked_thread_is_not_trusted() {
    let (id, validations) = after_a_blocked_thread(|builder| builder.max_lifetime(LIMIT));
    assert_eq!((id, validations), if id == 0 { (0, 1) } else { (1, 0) });
}

#[test]
fn handle_aged_in_its_use_on_a_blocked_thread_is_not_trusted() {
    let probe = Probe::new();
    let pool = without_limits().validate_after(Duration::MAX).max_lifetime(LIMIT).build(probe.clone());
    real_time_runtime().block_on(async {
        let handle = pool.get().await.unwrap();
        std::thread::sleep(BLOCKED);
        pool.put(handle);
        let (id, validations) = next(&pool, &probe).await;
        assert_eq!((id, validations), if id == 0 { (0, 1) } else { (1, 0) });
    });
}

#[test]
fn try_get_after_a_blocked_thread_lends_no_stale_handle() {
    let pool = without_limits().validate_after(LIMIT).build(Probe::new());
    real_time_runtime().block_on(async {
        leave_idle(&pool).await;
        std::thread::sleep(BLOCKED);
        assert!(pool.try_get().is_none(), "nothing has validated it");
    });
}

/// As in a program that uses a runtime for one call at a time.
fn call_by_call(runtime: &Runtime) {
    let probe = Probe::new();
    let pool = without_limits().validate_after(LIMIT).build(probe.clone());
    runtime.block_on(leave_idle(&pool));
    for calls in 1..=2 {
        std::thread::sleep(BLOCKED);
        assert_eq!(runtime.block_on(next(&pool, &probe)), (0, calls));
    }
}

#[test]
fn handle_idle_between_two_calls_of_a_runtime_is_validated() {
    call_by_call(&real_time_runtime());
}

#[test]
fn handle_idle_between_calls_of_threads_is_validated() {
    call_by_call(&Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap());
}

/// No timer, so no janitor: time has to pass all the same.
#[test]
fn handle_idle_on_a_runtime_without_timers_is_validated() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let probe = Probe::new();
    let pool = without_limits().validate_after(LIMIT).build(probe.clone());
    runtime.block_on(leave_idle(&pool));
    std::thread::sleep(BLOCKED);
    assert_eq!(runtime.block_on(next(&pool, &probe)), (0, 1));
}

/// The fault: the use began at the last tick before the block, so it was shown as longer than it was.
#[test]
fn use_begins_when_it_begins_after_a_blocked_thread() {
    let pool = without_limits().build(Probe::new());
    real_time_runtime().block_on(async {
        leave_idle(&pool).await;
        std::thread::sleep(BLOCKED);
        let before = Instant::now();
        let handle = pool.get().await.unwrap();
        let held = pool.holders()[0].held;
        assert!(held <= before.elapsed() + LIMIT, "{held:?}");
        pool.put(handle);
    });
}

#[cfg(target_os = "linux")]
mod frozen {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, Command, Stdio};
    use std::{env, fs, io, thread};

    use super::*;

    /// Set in the process that is stopped: the test starts its own executable again.
    const FROZEN: &str = "REQSCOPE_TEST_FROZEN";
    const TEST: &str = "pool::true_time::frozen::handle_idle_in_a_stopped_process_is_validated";
    const IDLE: &str = "the handle is idle";

    /// Leaves a handle idle, and checks it out when the other process says so.
    fn work() {
        let probe = Probe::new();
        let pool = without_limits().validate_after(LIMIT).build(probe.clone());
        real_time_runtime().block_on(async {
            leave_idle(&pool).await;
            println!("{IDLE}");
            // Blocks the thread, which the stop would do as well.
            io::stdin().lines().next().unwrap().unwrap();
            assert_eq!(next(&pool, &probe).await, (0, 1));
        });
    }

    fn signal(child: &Child, signal: &str) {
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "{sent}");
    }

    fn wait_until_stopped(child: &Child) {
        let path = format!("/proc/{}/stat", child.id());
        // The state follows the name of the program, which stands in brackets.
        while !fs::read_to_string(&path).unwrap().rsplit(')').next().unwrap().starts_with(" T") {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn handle_idle_in_a_stopped_process_is_validated() {
        if env::var_os(FROZEN).is_some() {
            return work();
        }
        let mut child = Command::new(env::current_exe().unwrap())
            .args([TEST, "--exact", "--nocapture"])
            .env(FROZEN, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with(IDLE)), "the process ended");
        signal(&child, "-STOP");
        wait_until_stopped(&child);
        thread::sleep(BLOCKED);
        // It finds the line when it goes on.
        child.stdin.take().unwrap().write_all(b"go on\n").unwrap();
        signal(&child, "-CONT");
        lines.for_each(drop);
        assert!(child.wait().unwrap().success(), "it was lent without a validation: see the panic above");
    }
}

/// A return takes the time of the latest check-out, not that of the validation before it.
#[tokio::test(start_paused = true)]
async fn handle_in_use_again_and_again_is_not_validated() {
    let rig = Rig::configured(Probe::new(), |builder| builder.validate_after(Duration::from_millis(50)));
    rig.fill(1).await;
    // Before the second round of the janitor.
    for _ in 0..3 {
        tokio::time::advance(Duration::from_millis(30)).await;
        rig.pool.put(rig.take().await);
    }
    assert_eq!(rig.probe.counts().validated, 0);
    rig.finish(0).await;
}
