//! A caller may be dropped at each of its awaits: no handle and no slot is lost, and no caller hangs.

use reqscope::{Exit, Resource};
use reqscope_testkit::{Outcome, Verb, cancel_at};
use std::time::Duration;

use reqscope_testkit::Probe;

use super::rig::Rig;
use crate::support::{bounded, settle};

/// More rounds than slots, so that a slot lost in each round makes a later one fail.
const ROUNDS: usize = 12;

fn slow(configure: impl FnOnce(reqscope::pool::PoolBuilder<Probe>) -> reqscope::pool::PoolBuilder<Probe>) -> Rig {
    let rig = Rig::configured(Probe::new(), configure);
    for verb in [Verb::Acquire, Verb::Validate, Verb::Release] {
        rig.probe.on(verb).always(Outcome::ok().after_polls(3));
    }
    rig
}

#[tokio::test(start_paused = true)]
async fn get_cut_during_a_creation_loses_no_slot() {
    for polls in 0..12 {
        let rig = slow(|builder| builder.max_size(2));
        for _ in 0..ROUNDS {
            rig.pool.clear();
            if let Some(handle) = bounded(cancel_at(polls, rig.pool.get())).await {
                rig.pool.put(handle.unwrap());
            }
        }
        rig.finish(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn get_cut_while_it_queues_loses_no_handle() {
    for polls in 0..6 {
        let rig = slow(|builder| builder.max_size(1));
        for _ in 0..ROUNDS {
            let held = rig.take().await;
            let (cut, next) = (tokio::spawn(cancel_at(polls, rig.pool.get())), tokio::spawn(rig.pool.get()));
            settle().await;
            rig.pool.put(held);
            if let Some(handle) = bounded(cut).await.unwrap() {
                rig.pool.put(handle.unwrap());
            }
            rig.pool.put(bounded(next).await.unwrap().unwrap());
        }
        assert_eq!(rig.probe.counts().acquired, 1);
        rig.finish(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn get_cut_during_a_validation_loses_no_slot() {
    for outcome in [Outcome::ok(), Outcome::error(), Outcome::panic()] {
        for polls in 0..12 {
            let rig = slow(|builder| builder.max_size(2).validate_after(Duration::ZERO));
            rig.probe.on(Verb::Validate).always(outcome.clone().after_polls(2));
            for _ in 0..ROUNDS {
                match bounded(cancel_at(polls, rig.pool.get())).await {
                    Some(Ok(handle)) => rig.pool.put(handle),
                    Some(Err(error)) => assert!(error.is_unavailable() || error.is_panicked(), "{error}"),
                    None => settle().await,
                }
            }
            rig.finish(0).await;
        }
    }
}

/// The query of a validation that was cut may be under way: a second validation would take its answer for its own.
#[tokio::test(start_paused = true)]
async fn handle_whose_validation_was_cut_is_not_lent_again() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).validate_after(Duration::ZERO));
    rig.pool.put(rig.take().await);
    rig.probe.on(Verb::Validate).never();
    drop(cancel_at(1, rig.pool.get()).await);
    let next = rig.take().await;
    assert_eq!((next.id(), rig.probe.record(0).exits), (1, vec![Exit::Cancelled]));
    rig.pool.put(next);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn release_cut_during_a_validation_loses_no_slot() {
    for exit in [Exit::Completed, Exit::Cancelled, Exit::Panicked] {
        for outcome in [Outcome::ok(), Outcome::error(), Outcome::panic(), Outcome::never()] {
            for polls in 0..6 {
                let rig = slow(|builder| builder.max_size(2));
                for _ in 0..ROUNDS {
                    // New handles are validated, too, once several have failed.
                    rig.probe.on(Verb::Validate).always(Outcome::ok());
                    let handle = rig.take().await;
                    rig.probe.on(Verb::Validate).always(outcome.clone().after_polls(2));
                    let released = cancel_at(polls, rig.pool.release(handle, exit));
                    if let Some(released) = bounded(released).await {
                        released.unwrap();
                    }
                }
                rig.finish(0).await;
            }
        }
    }
}
