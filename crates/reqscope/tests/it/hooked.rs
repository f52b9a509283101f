//! A resource that calls a closure of the test in each of its methods.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqscope::{Error, Exit, Health, Resource};
use reqscope_testkit::quiet_panic;

/// The places where the core calls into a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    TryAcquire,
    Acquire,
    Probe,
    Reclaim,
    Release,
    Settles,
    /// The release drops the handle.
    HandleDrop,
}

impl At {
    pub(crate) const ALL: [At; 7] =
        [At::TryAcquire, At::Acquire, At::Probe, At::Reclaim, At::Release, At::Settles, At::HandleDrop];
}

type Hook = Arc<dyn Fn(At) + Send + Sync>;

pub(crate) struct Hooked {
    hook: Hook,
    dropped: Arc<AtomicU64>,
}

pub(crate) struct HookedHandle {
    hook: Hook,
    dropped: Arc<AtomicU64>,
}

impl Hooked {
    pub(crate) fn new(hook: impl Fn(At) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Hooked { hook: Arc::new(hook), dropped: Arc::default() })
    }

    /// Creates a resource that panics at this place.
    pub(crate) fn bomb(at: At) -> Arc<Self> {
        Self::new(move |here| {
            if here == at {
                quiet_panic("the bomb goes off");
            }
        })
    }

    /// Returns how many handles were dropped so far, released or not.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for HookedHandle {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        (self.hook)(At::HandleDrop);
    }
}

impl fmt::Debug for HookedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedHandle")
    }
}

impl Resource for Hooked {
    type Handle = HookedHandle;
    type Cause = std::io::Error;

    async fn acquire(&self) -> Result<HookedHandle, Error<std::io::Error>> {
        (self.hook)(At::Acquire);
        Ok(HookedHandle { hook: Arc::clone(&self.hook), dropped: Arc::clone(&self.dropped) })
    }

    async fn release(&self, handle: HookedHandle, _exit: Exit) -> Result<(), Error<std::io::Error>> {
        tokio::task::yield_now().await;
        (self.hook)(At::Release);
        drop(handle);
        Ok(())
    }

    fn try_acquire(&self) -> Option<HookedHandle> {
        (self.hook)(At::TryAcquire);
        None
    }

    fn probe(&self, _handle: &HookedHandle) -> Health {
        (self.hook)(At::Probe);
        Health::Ready
    }

    fn reclaim(&self, handle: HookedHandle, _exit: Exit) -> Result<(), HookedHandle> {
        (self.hook)(At::Reclaim);
        Err(handle)
    }

    fn settles(&self, _exit: Exit) -> bool {
        (self.hook)(At::Settles);
        false
    }
}
