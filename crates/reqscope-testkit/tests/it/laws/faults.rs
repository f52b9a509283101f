//! One resource with a choice of faults: each is caught as the law that it breaks, and without any it passes.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use reqscope::{Error, Exit, Lease, Resource};
use reqscope_testkit::{Law, Probe, Scripted, judge};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Acquires one in advance.
    Eager,
    /// Answers an error for ever, once there was one.
    Unforgiving,
    /// Tells the inside that everything was a success.
    Rosy,
    /// Tells the inside that everything was cancelled.
    Gloomy,
    /// Has four slots, and gives one back only where a release or an acquire comes to its end.
    Counting,
    /// Gives a half-made handle back as if it had been used.
    CompletesTheCut,
    /// Says that a failure matters to the client, and a success does not.
    SettlesFailures,
    /// Keeps what comes back, for ever.
    Hoarding,
}

struct Faulty {
    inner: Arc<Probe>,
    fault: Fault,
    failed: AtomicBool,
    slots: AtomicUsize,
}

impl Faulty {
    fn new(probe: Probe, fault: Fault) -> Self {
        let inner = Arc::new(probe);
        if fault == Fault::Eager {
            drop(tokio::spawn(Lease::acquire(&inner)));
        }
        Faulty { inner, fault, failed: AtomicBool::new(false), slots: AtomicUsize::new(4) }
    }
}

/// Ends the lease of an acquire that is cut.
struct Half {
    lease: Option<Lease<Probe>>,
    exit: Exit,
}

impl Drop for Half {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            drop(Lease::end(lease, self.exit));
        }
    }
}

impl Resource for Faulty {
    type Handle = Lease<Probe>;
    type Cause = Scripted;

    async fn acquire(&self) -> Result<Lease<Probe>, Error<Scripted>> {
        if self.fault == Fault::Unforgiving && self.failed.load(SeqCst) {
            return Err(Error::unavailable());
        }
        if self.fault == Fault::Counting
            && self.slots.fetch_update(SeqCst, SeqCst, |free| free.checked_sub(1)).is_err()
        {
            return Err(Error::exhausted());
        }
        let acquired = Lease::acquire(&self.inner).await;
        self.failed.fetch_or(acquired.is_err(), SeqCst);
        let exit = if self.fault == Fault::CompletesTheCut { Exit::Completed } else { Exit::Cancelled };
        let mut half = Half { lease: acquired.ok(), exit };
        let Some(lease) = &mut half.lease else {
            self.slots.fetch_add(1, SeqCst);
            return Err(Error::unavailable());
        };
        let begun = self.inner.validate(lease).await;
        if begun.is_err() {
            self.slots.fetch_add(1, SeqCst);
        }
        begun.map(|()| half.lease.take().expect("it was there some lines above"))
    }

    async fn release(&self, lease: Lease<Probe>, told: Exit) -> Result<(), Error<Scripted>> {
        let exit = match self.fault {
            Fault::Rosy => Exit::Completed,
            Fault::Gloomy => Exit::Cancelled,
            _ => told,
        };
        if self.fault == Fault::Hoarding {
            std::mem::forget(lease);
            return Ok(());
        }
        let released = Lease::end(lease, exit).await;
        self.slots.fetch_add(1, SeqCst);
        released
    }

    fn settles(&self, exit: Exit) -> bool {
        self.fault == Fault::SettlesFailures && exit == Exit::Failed
    }
}

async fn caught(fault: Fault, as_law: Law) {
    let report = judge(|probe| Faulty::new(probe, fault)).await;
    assert!(report.breaches().iter().any(|breach| breach.law == as_law), "{as_law} was not among: {report}");
}

#[tokio::test(start_paused = true)]
async fn without_a_fault_it_passes() {
    let report = judge(|probe| Faulty::new(probe, Fault::None)).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_acquires_in_advance_breaks_l2() {
    caught(Fault::Eager, Law::L2).await;
}

#[tokio::test(start_paused = true)]
async fn what_remembers_a_failure_breaks_l7() {
    caught(Fault::Unforgiving, Law::L7).await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_on_the_exit_breaks_l9() {
    caught(Fault::Rosy, Law::L9).await;
    caught(Fault::Gloomy, Law::L9).await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_lost_when_a_release_is_cut_breaks_l12() {
    caught(Fault::Counting, Law::L12).await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_lost_when_an_acquire_is_cut_breaks_l3() {
    caught(Fault::Counting, Law::L3).await;
}

#[tokio::test(start_paused = true)]
async fn what_completes_a_half_made_handle_breaks_l3() {
    caught(Fault::CompletesTheCut, Law::L3).await;
}

#[tokio::test(start_paused = true)]
async fn what_settles_failures_alone_breaks_l11() {
    caught(Fault::SettlesFailures, Law::L11).await;
}

#[tokio::test(start_paused = true)]
async fn what_keeps_everything_for_ever_breaks_l1() {
    caught(Fault::Hoarding, Law::L1).await;
}
