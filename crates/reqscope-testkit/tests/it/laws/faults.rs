//! One resource with a choice of faults. Each fault is caught as the law that it breaks; without a fault it passes.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use reqscope::{Error, Exit, Lease, Resource};
use reqscope_testkit::{Law, Probe, Scripted, laws};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Acquires a handle in advance.
    Eager,
    /// Fails permanently after one failure.
    Unforgiving,
    /// Passes every exit on as completed.
    Rosy,
    /// Passes every exit on as cancelled.
    Gloomy,
    /// Has four slots, and frees one only when a release or an acquire runs to its end.
    Counting,
    /// Releases a half-made handle as completed.
    CompletesTheCut,
    /// Settles failures, but not completions.
    SettlesFailures,
    /// Keeps every returned handle.
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

/// Ends the lease of an acquire that is cancelled.
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
        begun.map(|()| half.lease.take().expect("it was checked above"))
    }

    async fn release(&self, lease: Lease<Probe>, passed: Exit) -> Result<(), Error<Scripted>> {
        let exit = match self.fault {
            Fault::Rosy => Exit::Completed,
            Fault::Gloomy => Exit::Cancelled,
            _ => passed,
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
        if self.fault == Fault::SettlesFailures { exit == Exit::Failed } else { self.inner.settles(exit) }
    }
}

async fn caught(fault: Fault, as_law: Law) {
    let report = laws(|probe| Faulty::new(probe, fault)).judge().await;
    assert!(report.breaches().iter().any(|breach| breach.law == as_law), "{as_law} was not among: {report}");
}

#[tokio::test(start_paused = true)]
async fn faultless_resource_passes() {
    let report = laws(|probe| Faulty::new(probe, Fault::None)).judge().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn eager_acquisition_breaks_l2() {
    caught(Fault::Eager, Law::L2).await;
}

#[tokio::test(start_paused = true)]
async fn remembered_failure_breaks_l7() {
    caught(Fault::Unforgiving, Law::L7).await;
}

#[tokio::test(start_paused = true)]
async fn altered_exit_breaks_l9() {
    caught(Fault::Rosy, Law::L9).await;
    caught(Fault::Gloomy, Law::L9).await;
}

#[tokio::test(start_paused = true)]
async fn slot_lost_by_a_cancelled_release_breaks_l12() {
    caught(Fault::Counting, Law::L12).await;
}

#[tokio::test(start_paused = true)]
async fn slot_lost_by_a_cancelled_acquire_breaks_l3() {
    caught(Fault::Counting, Law::L3).await;
}

#[tokio::test(start_paused = true)]
async fn completing_a_half_made_handle_breaks_l3() {
    caught(Fault::CompletesTheCut, Law::L3).await;
}

#[tokio::test(start_paused = true)]
async fn settling_only_failures_breaks_l11() {
    caught(Fault::SettlesFailures, Law::L11).await;
}

#[tokio::test(start_paused = true)]
async fn keeping_every_handle_breaks_l1() {
    caught(Fault::Hoarding, Law::L1).await;
}
