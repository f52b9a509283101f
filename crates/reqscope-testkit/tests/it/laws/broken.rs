//! Six resources that are each wrong in one way, beside a twin that is right. The suite must name the law that the one
//! breaks, and let the other pass.
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::{Error, Exit, Health, Lease, Reaper, Resource};
use reqscope_testkit::{Law, Probe, ProbeHandle, Scripted, laws};

/// Returns the laws that a resource breaks, each once.
async fn broken<R: Resource>(make: impl Fn(Probe) -> R) -> Vec<Law> {
    let report = laws(make).judge().await;
    println!("{report}"); // shown if the test fails
    let mut broken: Vec<Law> = report.breaches().iter().map(|breach| breach.law).collect();
    broken.sort();
    broken.dedup();
    broken
}

mod double_release {
    use super::*;

    /// Releases a handle a second time, as two independent listeners of `finish` and `close` would.
    struct Twice {
        probe: Probe,
        again: bool,
    }

    impl Resource for Twice {
        type Handle = ProbeHandle;
        type Cause = Scripted;

        async fn acquire(&self) -> Result<ProbeHandle, Error<Scripted>> {
            self.probe.acquire().await
        }

        async fn release(&self, handle: ProbeHandle, exit: Exit) -> Result<(), Error<Scripted>> {
            let again = self.again.then(|| handle.duplicate());
            self.probe.release(handle, exit).await?;
            match again {
                Some(again) => self.probe.release(again, exit).await,
                None => Ok(()),
            }
        }

        fn settles(&self, exit: Exit) -> bool {
            self.probe.settles(exit)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l1() {
        assert_eq!(broken(|probe| Twice { probe, again: true }).await, [Law::L1]);
    }

    #[tokio::test(start_paused = true)]
    async fn twin_passes() {
        assert_eq!(broken(|probe| Twice { probe, again: false }).await, []);
    }
}

mod release_lost_on_cancel {
    use super::*;

    /// Checks a connection out and executes BEGIN. If it is cancelled in the BEGIN, the connection is not released.
    struct Bare(Probe);

    impl Resource for Bare {
        type Handle = ProbeHandle;
        type Cause = Scripted;

        async fn acquire(&self) -> Result<ProbeHandle, Error<Scripted>> {
            let mut handle = self.0.acquire().await?;
            match self.0.validate(&mut handle).await {
                Ok(()) => Ok(handle),
                Err(error) => {
                    self.0.release(handle, Exit::Cancelled).await?;
                    Err(error)
                }
            }
        }

        async fn release(&self, handle: ProbeHandle, exit: Exit) -> Result<(), Error<Scripted>> {
            self.0.release(handle, exit).await
        }

        fn settles(&self, exit: Exit) -> bool {
            self.0.settles(exit)
        }
    }

    /// The same with an owner for the half-made handle.
    struct Owned(Arc<Probe>);

    impl Resource for Owned {
        type Handle = Lease<Probe>;
        type Cause = Scripted;

        async fn acquire(&self) -> Result<Lease<Probe>, Error<Scripted>> {
            let mut lease = Lease::acquire(&self.0).await?;
            self.0.validate(&mut lease).await?;
            Ok(lease)
        }

        async fn release(&self, lease: Lease<Probe>, exit: Exit) -> Result<(), Error<Scripted>> {
            Lease::end(lease, exit).await
        }

        fn settles(&self, exit: Exit) -> bool {
            self.0.settles(exit)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l3() {
        // And as L1, because a BEGIN that panics loses the connection, too.
        assert_eq!(broken(Bare).await, [Law::L1, Law::L3]);
    }

    #[tokio::test(start_paused = true)]
    async fn twin_passes() {
        assert_eq!(broken(|probe| Owned(Arc::new(probe))).await, []);
    }
}

mod late_arrival_leaked {
    use super::*;

    /// Connects in a task, so that a caller that is dropped does not cancel it, and loses the handle then.
    struct Forgotten(Probe);

    impl Resource for Forgotten {
        type Handle = ProbeHandle;
        type Cause = Scripted;

        async fn acquire(&self) -> Result<ProbeHandle, Error<Scripted>> {
            let probe = self.0.clone();
            let connecting = tokio::spawn(async move { probe.acquire().await });
            connecting.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
        }

        async fn release(&self, handle: ProbeHandle, exit: Exit) -> Result<(), Error<Scripted>> {
            self.0.release(handle, exit).await
        }

        fn settles(&self, exit: Exit) -> bool {
            self.0.settles(exit)
        }
    }

    /// The same with a lease, which releases the handle when it is dropped.
    struct Banked(Arc<Probe>);

    impl Resource for Banked {
        type Handle = Lease<Probe>;
        type Cause = Scripted;

        async fn acquire(&self) -> Result<Lease<Probe>, Error<Scripted>> {
            tokio::spawn(Lease::acquire(&self.0)).await.expect("a lease turns panics into errors")
        }

        async fn release(&self, lease: Lease<Probe>, exit: Exit) -> Result<(), Error<Scripted>> {
            Lease::end(lease, exit).await
        }

        fn settles(&self, exit: Exit) -> bool {
            self.0.settles(exit)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l6() {
        assert_eq!(broken(Forgotten).await, [Law::L6]);
    }

    #[tokio::test(start_paused = true)]
    async fn twin_passes() {
        assert_eq!(broken(|probe| Banked(Arc::new(probe))).await, []);
    }
}

mod handle_reused_in_doubt {
    use super::*;

    /// A pool in a few lines. If it is `trusting`, it keeps every returned handle.
    struct MiniPool {
        inner: Arc<Probe>,
        /// Its own, so that an idle handle does not delay the drain of a scope's reaper.
        reaper: Reaper,
        idle: Mutex<Vec<Lease<Probe>>>,
        trusting: bool,
    }

    impl MiniPool {
        fn over(probe: Probe, trusting: bool) -> Self {
            assert!(!probe.ends_with_request(), "the wrong way round");
            MiniPool::around_anything(probe, trusting)
        }

        fn around_anything(probe: Probe, trusting: bool) -> Self {
            MiniPool { inner: Arc::new(probe), reaper: Reaper::new(), idle: Mutex::default(), trusting }
        }
    }

    impl Resource for MiniPool {
        type Handle = Lease<Probe>;
        type Cause = Scripted;

        async fn acquire(&self) -> Result<Lease<Probe>, Error<Scripted>> {
            let idle = self.idle.lock().pop();
            match idle {
                Some(lease) => Ok(lease),
                None => Lease::acquire_in(&self.reaper, &self.inner).await,
            }
        }

        async fn release(&self, mut lease: Lease<Probe>, exit: Exit) -> Result<(), Error<Scripted>> {
            if !self.trusting {
                let health = self.inner.probe(&lease);
                if health == Health::Dead {
                    return Lease::end(lease, exit).await;
                }
                if exit.is_in_doubt() || !matches!(health, Health::Clean | Health::Ready) {
                    // Cancelled here, the lease is dropped and releases the handle as cancelled.
                    if self.inner.validate(&mut lease).await.is_err() {
                        return Lease::end(lease, exit).await;
                    }
                }
            }
            self.idle.lock().push(lease);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l14() {
        assert_eq!(broken(|probe| MiniPool::over(probe, true)).await, [Law::L14]);
    }

    #[tokio::test(start_paused = true)]
    async fn twin_passes() {
        assert_eq!(broken(|probe| MiniPool::over(probe, false)).await, []);
    }

    /// It answers success without a COMMIT, and the next request goes on in the same transaction.
    #[tokio::test(start_paused = true)]
    async fn pool_around_what_settles_is_caught_as_l11() {
        let report = laws(|probe| MiniPool::around_anything(probe, false)).judge().await;
        assert_eq!(report.breaches().iter().map(|breach| breach.law).collect::<Vec<_>>(), [Law::L11], "{report}");
        assert!(report.to_string().contains("panic where it is built"), "{report}");
    }
}

mod dropped_handle_reused {
    use super::*;

    /// A pool whose handles return to it when they are dropped, if it trusts the answer of their probe.
    struct Returning {
        inner: Arc<Probe>,
        reaper: Reaper,
        idle: Arc<Mutex<Vec<Lease<Probe>>>>,
        trusts: fn(Health) -> bool,
    }

    impl Returning {
        fn over(probe: Probe, trusts: fn(Health) -> bool) -> Self {
            assert!(!probe.ends_with_request(), "the wrong way round");
            Returning { inner: Arc::new(probe), reaper: Reaper::new(), idle: Arc::default(), trusts }
        }
    }

    struct Lent {
        lease: Option<Lease<Probe>>,
        inner: Arc<Probe>,
        idle: Arc<Mutex<Vec<Lease<Probe>>>>,
        trusts: fn(Health) -> bool,
    }

    impl Drop for Lent {
        fn drop(&mut self) {
            // Not put back, the lease releases the handle as cancelled.
            let Some(lease) = self.lease.take() else { return };
            if !thread::panicking() && (self.trusts)(self.inner.probe(&lease)) {
                self.idle.lock().push(lease);
            }
        }
    }

    impl Resource for Returning {
        type Handle = Lent;
        type Cause = Scripted;

        async fn acquire(&self) -> Result<Lent, Error<Scripted>> {
            let idle = self.idle.lock().pop();
            let lease = match idle {
                Some(lease) => lease,
                None => Lease::acquire_in(&self.reaper, &self.inner).await?,
            };
            let (inner, idle) = (Arc::clone(&self.inner), Arc::clone(&self.idle));
            Ok(Lent { lease: Some(lease), inner, idle, trusts: self.trusts })
        }

        async fn release(&self, mut lent: Lent, exit: Exit) -> Result<(), Error<Scripted>> {
            let lease = lent.lease.take().expect("only a drop takes it too");
            Lease::end(lease, exit).await
        }

        fn probe(&self, lent: &Lent) -> Health {
            lent.lease.as_ref().map_or(Health::Dead, |lease| self.inner.probe(lease))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l14() {
        let trusts = |health| matches!(health, Health::Clean | Health::Ready);
        assert_eq!(broken(|probe| Returning::over(probe, trusts)).await, [Law::L14]);
        let report = laws(|probe| Returning::over(probe, trusts)).judge().await;
        assert!(report.to_string().contains("a handle dropped while its probe says Ready"), "{report}");
    }

    #[tokio::test(start_paused = true)]
    async fn twin_passes() {
        assert_eq!(broken(|probe| Returning::over(probe, |health| health == Health::Clean)).await, []);
    }
}

mod blocking_drop {
    use super::*;

    /// Sends a goodbye to the server when it is dropped, and waits for the answer.
    struct Polite {
        handle: Option<ProbeHandle>,
        waits: bool,
    }

    impl Drop for Polite {
        fn drop(&mut self) {
            if self.waits && self.handle.is_some() {
                thread::sleep(Duration::from_millis(30));
            }
        }
    }

    struct Blocking {
        probe: Probe,
        waits: bool,
    }

    impl Resource for Blocking {
        type Handle = Polite;
        type Cause = Scripted;

        async fn acquire(&self) -> Result<Polite, Error<Scripted>> {
            let handle = self.probe.acquire().await?;
            Ok(Polite { handle: Some(handle), waits: self.waits })
        }

        async fn release(&self, mut polite: Polite, exit: Exit) -> Result<(), Error<Scripted>> {
            match polite.handle.take() {
                Some(handle) => self.probe.release(handle, exit).await,
                None => Ok(()),
            }
        }

        fn settles(&self, exit: Exit) -> bool {
            self.probe.settles(exit)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l15() {
        assert_eq!(broken(|probe| Blocking { probe, waits: true }).await, [Law::L15]);
    }

    #[tokio::test(start_paused = true)]
    async fn twin_passes() {
        assert_eq!(broken(|probe| Blocking { probe, waits: false }).await, []);
    }
}

mod settles_not_forwarded {
    use super::*;

    /// A wrapper that adds nothing. If it is `silent`, it leaves out `settles`, which has a default: the response does
    /// not wait for the COMMIT inside, and a COMMIT that fails is a success for the client.
    struct Wrapper {
        inner: Probe,
        silent: bool,
    }

    impl Resource for Wrapper {
        type Handle = ProbeHandle;
        type Cause = Scripted;

        async fn acquire(&self) -> Result<ProbeHandle, Error<Scripted>> {
            self.inner.acquire().await
        }

        async fn validate(&self, handle: &mut ProbeHandle) -> Result<(), Error<Scripted>> {
            self.inner.validate(handle).await
        }

        async fn release(&self, handle: ProbeHandle, exit: Exit) -> Result<(), Error<Scripted>> {
            self.inner.release(handle, exit).await
        }

        fn try_acquire(&self) -> Option<ProbeHandle> {
            self.inner.try_acquire()
        }

        fn probe(&self, handle: &ProbeHandle) -> Health {
            self.inner.probe(handle)
        }

        fn reclaim(&self, handle: ProbeHandle, exit: Exit) -> Result<(), ProbeHandle> {
            self.inner.reclaim(handle, exit)
        }

        fn settles(&self, exit: Exit) -> bool {
            !self.silent && self.inner.settles(exit)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l11() {
        assert_eq!(broken(|inner| Wrapper { inner, silent: true }).await, [Law::L11]);
    }

    #[tokio::test(start_paused = true)]
    async fn report_says_what_to_forward() {
        let report = laws(|inner| Wrapper { inner, silent: true }).judge().await.to_string();
        assert!(
            report.contains("L11: release as completed over a probe that settles: `settles(Completed)` is false")
        );
        assert!(report.contains("what to do: forward `settles` to the resource inside"), "{report}");
    }

    #[tokio::test(start_paused = true)]
    async fn twin_passes() {
        assert_eq!(broken(|inner| Wrapper { inner, silent: false }).await, []);
    }
}
