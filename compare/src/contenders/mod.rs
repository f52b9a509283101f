//! Who is compared, a file each, set up as its own docs advise.

mod bb8;
mod deadpool;
mod reqscope;
mod semaphore;

use clap::ValueEnum;

use crate::contender::Contender;

/// The contenders by the names that the command line and the tables know them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    Reqscope,
    Deadpool,
    DeadpoolTimeouts,
    Bb8,
    Semaphore,
}

/// What is done to any contender.
pub(crate) trait Visitor {
    type Output;

    fn visit<C: Contender>(self) -> Self::Output;
}

impl Name {
    pub(crate) fn visit<V: Visitor>(self, visitor: V) -> V::Output {
        match self {
            Name::Reqscope => visitor.visit::<reqscope::Reqscope>(),
            Name::Deadpool => visitor.visit::<deadpool::Deadpool>(),
            Name::DeadpoolTimeouts => visitor.visit::<deadpool::DeadpoolTimeouts>(),
            Name::Bb8 => visitor.visit::<bb8::Bb8>(),
            Name::Semaphore => visitor.visit::<semaphore::SemaphoreStack>(),
        }
    }
}
