//! What goes beside a call to [`Resource::acquire`](crate::Resource::acquire) instead of through its signature: on
//! whose books a wrapper's inner lease belongs, and where in the program the outermost one was asked for.

use std::cell::Cell;
use std::panic::Location;
use std::time::Duration;

use crate::account::Account;
use crate::foreign::{self, Panic};
use crate::reaper::Reaper;
use crate::sync::thread_local;

#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) reaper: Reaper,
    pub(crate) taken_at: &'static Location<'static>,
}

thread_local! {
    static CURRENT: Cell<Option<Surroundings>> = const { Cell::new(None) };
}

/// Puts others in the place of the current ones. A thread that is being torn down has none any more, and keeps none.
fn replace(new: &mut Option<Surroundings>) -> Option<Surroundings> {
    CURRENT.try_with(|current| current.replace(new.take())).ok().flatten()
}

impl Surroundings {
    /// Those of the acquisition that this thread is polling right now.
    pub(crate) fn current() -> Option<Surroundings> {
        let mut current = replace(&mut None);
        let copy = current.clone();
        drop(replace(&mut current));
        copy
    }

    /// Opens the account of a handle that has just arrived in them.
    #[inline]
    pub(crate) fn open<R>(self, waited: Duration) -> Account<R> {
        Account::open(self.reaper.into_books(), self.taken_at, waited)
    }

    /// Calls the code of a user inside of them, and hands back its panic. They are lent to the thread meanwhile,
    /// not counted up: this stands on the path of every first use.
    pub(crate) fn enter<T>(self, code: impl FnOnce() -> T) -> (Result<T, Panic>, Self) {
        let mut own = Some(self);
        let mut outer = replace(&mut own);
        let answer = foreign::call(code);
        let own = own.or_else(|| replace(&mut outer));
        (answer, own.expect("who enters others inside of these puts these back"))
    }
}
