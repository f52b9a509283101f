use std::convert::Infallible;

use reqscope::{Error, Exit, Health, Resource};

/// A resource that never waits.
///
/// Each part of the program has a type of its own, so that no row depends on what else is compiled: a function with a
/// single caller is inlined, one with two callers is called.
pub(crate) struct Ready<const PART: u8>;

pub(crate) const ALONE: u8 = 0;
pub(crate) const IN_A_POOL: u8 = 1;
pub(crate) const UNDER_TOWER: u8 = 2;
pub(crate) const OVER_LOOPBACK: u8 = 3;
pub(crate) const AMONG_MANY: u8 = 4;
pub(crate) const IN_A_ROUTER: u8 = 5;
pub(crate) const IN_A_CROWD: u8 = 6;
pub(crate) const IN_FOUR_PLACES: u8 = 7;
pub(crate) const VALIDATED: u8 = 8;
pub(crate) const LEFT_BY_WAITERS: u8 = 9;

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

/// A resource whose verbs are ready at their first poll, without the shortcuts that need no future.
pub(crate) struct Plain;

impl Resource for Plain {
    type Handle = u64;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<u64, Error<Infallible>> {
        Ok(HANDLE)
    }

    async fn release(&self, _handle: u64, _exit: Exit) -> Result<(), Error<Infallible>> {
        Ok(())
    }
}

/// A resource with no more than it must have: the pool knows nothing about its handles, as about those of a manager that
/// was written for another pool.
pub(crate) struct Bare;

impl Resource for Bare {
    type Handle = u64;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<u64, Error<Infallible>> {
        Ok(HANDLE)
    }
}
