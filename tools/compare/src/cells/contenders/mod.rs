//! The lazy cells that are compared, in a file each, set up as their own docs advise.

mod async_once_cell;
#[cfg(test)]
pub(crate) mod careless;
mod once_cell;
mod reqscope;
mod shared;

use std::fmt;

use clap::ValueEnum;

use super::cell::LazyCell;

/// The names of the cells on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    Reqscope,
    OnceCell,
    AsyncOnceCell,
    Shared,
}

/// Something that is done with any cell.
pub(crate) trait Visitor {
    type Output;

    fn visit<C: LazyCell>(self) -> Self::Output;
}

impl Name {
    pub(crate) fn visit<V: Visitor>(self, visitor: V) -> V::Output {
        match self {
            Name::Reqscope => visitor.visit::<reqscope::Scoped>(),
            Name::OnceCell => visitor.visit::<once_cell::ArcOnceCell>(),
            Name::AsyncOnceCell => visitor.visit::<async_once_cell::ArcLazy>(),
            Name::Shared => visitor.visit::<shared::SharedFuture>(),
        }
    }
}

/// Formats the name for the command line.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("none is skipped").get_name())
    }
}
