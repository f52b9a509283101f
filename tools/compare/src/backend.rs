//! What a pool is made over.

use std::future::Future;

/// Makes the handles of a pool. Each contender calls these methods as its own docs advise.
pub(crate) trait Backend: Send + Sync + 'static {
    type Handle: Send + Sync + 'static;

    /// Whether the methods do nothing, so that a contender with handles of its own may skip them.
    const IS_NOTHING: bool = false;

    /// Creates a handle.
    fn create(&self) -> impl Future<Output = Result<Self::Handle, Refused>> + Send;

    /// Returns whether the handle knows that it is broken, which costs nothing.
    fn is_broken(&self, handle: &Self::Handle) -> bool;

    /// Checks whether the handle works, which may wait.
    fn validate(&self, handle: &Self::Handle) -> impl Future<Output = Result<(), Refused>> + Send;

    /// Releases a handle, if the contender has a hook for that.
    fn release(&self, handle: Self::Handle) -> impl Future<Output = ()> + Send;

    /// Returns the number of the handle.
    fn id(handle: &Self::Handle) -> u64;
}

/// Why there is no handle.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

impl Refused {
    pub(crate) fn by(error: impl std::fmt::Display) -> Refused {
        Refused(error.to_string())
    }
}

/// A backend that never waits, so that only the pool is measured.
///
/// Each kind of work has one of its own, so that the functions whose instructions are counted have no more callers than
/// that work has: a function with one caller is inlined, one with two callers is called.
pub(crate) struct Ready<const WORK: u8>;

/// Many tasks, whose work is timed.
pub(crate) const CONTENDED: u8 = 0;
/// One task that gets at one place of the program.
pub(crate) const AT_ONE_PLACE: u8 = 1;
/// One task that gets at four places in turn.
pub(crate) const AT_FOUR_PLACES: u8 = 2;

impl<const WORK: u8> Backend for Ready<WORK> {
    type Handle = u64;

    const IS_NOTHING: bool = true;

    async fn create(&self) -> Result<u64, Refused> {
        Ok(7)
    }

    fn is_broken(&self, _object: &u64) -> bool {
        false
    }

    async fn validate(&self, _object: &u64) -> Result<(), Refused> {
        Ok(())
    }

    async fn release(&self, _object: u64) {}

    fn id(handle: &u64) -> u64 {
        *handle
    }
}
