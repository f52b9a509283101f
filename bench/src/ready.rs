use std::convert::Infallible;

use reqscope::{Error, Exit, Health, Resource};

/// A resource that never waits: each verb has its answer at once.
///
/// There are two of it, so that no row changes for what another one compiles: what a single caller has in line, two
/// callers call.
pub(crate) struct Ready<const IN_A_POOL: bool>;

pub(crate) const HANDLE: u64 = 7;

impl<const IN_A_POOL: bool> Resource for Ready<IN_A_POOL> {
    type Handle = u64;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<u64, Error<Infallible>> {
        Ok(HANDLE)
    }

    fn try_acquire(&self) -> Option<u64> {
        Some(HANDLE)
    }

    fn probe(&self, _handle: &u64) -> Health {
        Health::Ready
    }

    fn reclaim(&self, _handle: u64, _exit: Exit) -> Result<(), u64> {
        Ok(())
    }
}
