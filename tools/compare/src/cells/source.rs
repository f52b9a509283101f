use std::future::{Future, Ready, ready};

use reqscope::Exit;

/// Where the handle of a request comes from. It never fails: no row is about errors, and so the cells that store no
/// result are at their cheapest.
pub(crate) trait Source: Send + Sync + 'static {
    /// It can be cloned, which `Shared` needs.
    type Handle: Clone + Send + Sync + Unpin + 'static;

    /// It has a name and is `Unpin`, so that no contender has to box it.
    type Acquire: Future<Output = Self::Handle> + Send + Unpin + 'static;

    /// Returns an acquisition, which begins when it is polled.
    fn acquire(&self) -> Self::Acquire;

    /// Returns a handle without waiting, for contenders that have such a shortcut.
    fn at_hand(&self) -> Option<Self::Handle> {
        None
    }

    /// Releases a handle, for contenders that do more than drop it.
    fn release(&self, handle: Self::Handle, exit: Exit) -> impl Future<Output = ()> + Send;

    /// Releases a handle without waiting, for contenders that have such a shortcut.
    fn reclaim(&self, handle: Self::Handle, exit: Exit) -> Result<(), Self::Handle> {
        let _exit = exit;
        Err(handle)
    }
}

/// A source that never waits and has all shortcuts, so that only the cell is measured.
pub(crate) struct AtHand;

/// A source that never waits, but has no shortcuts.
pub(crate) struct Plain;

const HANDLE: u64 = 7;

impl Source for AtHand {
    type Handle = u64;
    type Acquire = Ready<u64>;

    fn acquire(&self) -> Ready<u64> {
        ready(HANDLE)
    }

    fn at_hand(&self) -> Option<u64> {
        Some(HANDLE)
    }

    async fn release(&self, _object: u64, _exit: Exit) {}

    fn reclaim(&self, _object: u64, _exit: Exit) -> Result<(), u64> {
        Ok(())
    }
}

impl Source for Plain {
    type Handle = u64;
    type Acquire = Ready<u64>;

    fn acquire(&self) -> Ready<u64> {
        ready(HANDLE)
    }

    async fn release(&self, _object: u64, _exit: Exit) {}
}
