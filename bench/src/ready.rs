use std::convert::Infallible;

use reqscope::{Error, Exit, Health, Resource};

/// A resource that never waits: each verb has its answer at once, as a pool's has on its hot path.
pub(crate) struct Ready;

pub(crate) const HANDLE: u64 = 7;

impl Resource for Ready {
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
