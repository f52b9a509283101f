use std::convert::Infallible;

use reqscope::{Error, Exit, Health, Resource};

/// A resource that never waits: each verb has its answer at once.
///
/// There is one for each part, so that no row changes for what another part's compiles: what a single caller has in
/// line, two callers call.
pub(crate) struct Ready<const PART: u8>;

pub(crate) const ALONE: u8 = 0;
pub(crate) const IN_A_POOL: u8 = 1;
pub(crate) const UNDER_TOWER: u8 = 2;
pub(crate) const OVER_LOOPBACK: u8 = 3;

pub(crate) const HANDLE: u64 = 7;

impl<const PART: u8> Resource for Ready<PART> {
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
