//! The honesty table: one script per row, which runs on every contender.
//!
//! A script causes its fault and then checks whether the pool still does what a pool is for. It judges by what it sees,
//! and never by which contender it is. "Not offered" is seen, too: a hook that is never called.

pub(crate) mod judge;
#[cfg(test)]
pub(crate) mod naive;
mod scripted;
pub(crate) mod steps;
mod wired;

pub(crate) use judge::Fault;

use crate::contender::Contender;
use crate::rows::rows;

rows! { Contender:
    CancelledWaiter = cancelled_waiter: "a waiter is cancelled after its grant"
    CancelledValidation = cancelled_validation: "a get is cancelled in validation"
    PanicInCreate = panic_in_create: "a panic in each creation, as many as there are slots"
    PanicInRetain = panic_in_retain: "a panic in a predicate over the idle handles"
    PanicInProbe = panic_in_probe: "a panic in the probe of a handle, as many as there are slots"
    Resize = resize: "resized 10, 1, 10 under load"
    OutsideRuntime = outside_runtime: "guard and pool dropped outside a runtime"
    Unwinding = unwinding: "a user panics in the middle of an operation"
    BlackHole = black_hole: "10 idle connections are black-holed"
    Fairness = fairness: "64 tasks on 8 handles: the least served gets 0.9 of the most served"
    HungRelease = hung_release: "a release that hangs"
    PoolGone = pool_gone: "the pool is dropped while handles are lent"
    LateCreation = late_creation: "a creation ends after its caller has gone"
    Impatience = impatience: "callers that wait for less time than a creation takes"
}

#[cfg(test)]
mod tests {
    use super::naive::Naive;
    use super::steps::Unmet;
    use super::*;

    /// So each script can fail, and its message is printed.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_script_fails_a_naive_pool() {
        let mut passed = Vec::new();
        for row in Row::ALL {
            // A panic of the script counts as a failure.
            match tokio::spawn(row.run::<Naive>()).await {
                Ok(Err(Unmet::Saw(saw))) => println!("{}: {saw}", row.name()),
                Err(panic) => println!("{}: {panic}", row.name()),
                Ok(other) => passed.push((row.name(), other)),
            }
        }
        assert!(passed.is_empty(), "{passed:?}");
    }
}
