//! The contenders, in a file each, set up as their own docs advise.

mod bb8;
mod deadpool;
mod fastpool;
mod mobc;
mod mutex;
mod no_pool;
mod r2d2;
mod reqscope;
mod semaphore;
mod sqlx;

use std::fmt;

use clap::ValueEnum;

use crate::contender::Contender;

/// The names of the contenders on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    Reqscope,
    ReqscopeBare,
    Deadpool,
    DeadpoolTimeouts,
    Bb8,
    Mobc,
    Fastpool,
    FastpoolTimeout,
    Asyncband,
    AsyncbandTimeout,
    R2d2,
    Sqlx,
    Semaphore,
    Mutex,
    NoPool,
}

/// Something that is done with any contender.
pub(crate) trait Visitor {
    type Output;

    fn visit<C: Contender>(self) -> Self::Output;
}

impl Name {
    pub(crate) fn visit<V: Visitor>(self, visitor: V) -> V::Output {
        match self {
            Name::Reqscope => visitor.visit::<reqscope::Reqscope>(),
            Name::ReqscopeBare => visitor.visit::<reqscope::Bare>(),
            Name::Deadpool => visitor.visit::<deadpool::Deadpool>(),
            Name::DeadpoolTimeouts => visitor.visit::<deadpool::DeadpoolTimeouts>(),
            Name::Bb8 => visitor.visit::<bb8::Bb8>(),
            Name::Mobc => visitor.visit::<mobc::Mobc>(),
            Name::Fastpool => visitor.visit::<fastpool::Fastpool>(),
            Name::FastpoolTimeout => visitor.visit::<fastpool::FastpoolTimeout>(),
            Name::Asyncband => visitor.visit::<fastpool::Asyncband>(),
            Name::AsyncbandTimeout => visitor.visit::<fastpool::AsyncbandTimeout>(),
            Name::R2d2 => visitor.visit::<r2d2::R2d2>(),
            Name::Sqlx => visitor.visit::<sqlx::Sqlx>(),
            Name::Mutex => visitor.visit::<mutex::BareMutex>(),
            Name::NoPool => visitor.visit::<no_pool::NoPool>(),
            Name::Semaphore => visitor.visit::<semaphore::SemaphoreStack>(),
        }
    }
}

/// Formats the name for the command line.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("none is skipped").get_name())
    }
}
