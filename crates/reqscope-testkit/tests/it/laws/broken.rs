//! Five resources that are wrong, each in one way and each beside a twin that is right: the suite must name the law
//! that the one breaks, and let the other pass.
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::{Error, Exit, Health, Lease, Reaper, Resource};
use reqscope_testkit::{Law, Probe, ProbeHandle, Scripted, judge};

/// The laws that it breaks, each once.
async fn broken<R: Resource>(make: impl Fn(Probe) -> R) -> Vec<Law> {
    let report = judge(make).await;
    println!("{report}"); // shown where the test fails
    let mut laws: Vec<Law> = report.breaches().iter().map(|breach| breach.law).collect();
    laws.sort();
    laws.dedup();
    laws
}

mod double_release {
    use super::*;

    /// Gives a handle back a second time, as a `finish` and a `close` listener that do not know of each other.
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
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l1() {
        assert_eq!(broken(|probe| Twice { probe, again: true }).await, [Law::L1]);
    }

    #[tokio::test(start_paused = true)]
    async fn its_twin_passes() {
        assert_eq!(broken(|probe| Twice { probe, again: false }).await, []);
    }
}

mod release_lost_on_cancel {
    use super::*;

    /// Checks a connection out and says BEGIN; cut in the BEGIN, nobody gives the connection back.
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
    }

    /// The same with an owner for the half-made thing.
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
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l3() {
        // And as L1, where the BEGIN panics: an unwinding is a cut, too.
        assert_eq!(broken(Bare).await, [Law::L1, Law::L3]);
    }

    #[tokio::test(start_paused = true)]
    async fn its_twin_passes() {
        assert_eq!(broken(|probe| Owned(Arc::new(probe))).await, []);
    }
}

mod late_arrival_leaked {
    use super::*;

    /// Connects in a task, so that a caller who leaves does not cancel it; and forgets to ask who gets the handle then.
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
    }

    /// The same with a lease: nobody there, it goes back.
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
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l6() {
        assert_eq!(broken(Forgotten).await, [Law::L6]);
    }

    #[tokio::test(start_paused = true)]
    async fn its_twin_passes() {
        assert_eq!(broken(|probe| Banked(Arc::new(probe))).await, []);
    }
}

mod handle_reused_in_doubt {
    use super::*;

    /// A pool in a few lines. One that is `trusting` keeps every handle that comes back.
    struct MiniPool {
        inner: Arc<Probe>,
        /// Its own: an idle handle is on the books of no scope, and holds up no drain.
        reaper: Reaper,
        idle: Mutex<Vec<Lease<Probe>>>,
        trusting: bool,
    }

    impl MiniPool {
        fn over(probe: Probe, trusting: bool) -> Self {
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
                if exit.is_in_doubt() || health != Health::Ready {
                    // Cut here, the lease is dropped and goes back as cancelled.
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
    async fn its_twin_passes() {
        assert_eq!(broken(|probe| MiniPool::over(probe, false)).await, []);
    }
}

mod blocking_drop {
    use super::*;

    /// Says goodbye to the server when it is dropped, and waits for the answer.
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
    }

    #[tokio::test(start_paused = true)]
    async fn is_caught_as_l15() {
        assert_eq!(broken(|probe| Blocking { probe, waits: true }).await, [Law::L15]);
    }

    #[tokio::test(start_paused = true)]
    async fn its_twin_passes() {
        assert_eq!(broken(|probe| Blocking { probe, waits: false }).await, []);
    }
}
