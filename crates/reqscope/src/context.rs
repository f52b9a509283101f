//! What goes beside a call to [`Resource::acquire`](crate::Resource::acquire) instead of through its signature: on
//! whose books a wrapper's inner lease belongs, and where in the program the outermost one was asked for.

use std::cell::RefCell;
use std::panic::Location;

use crate::reaper::Reaper;

#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) reaper: Reaper,
    pub(crate) taken_at: &'static Location<'static>,
}

thread_local! {
    static CURRENT: RefCell<Option<Surroundings>> = const { RefCell::new(None) };
}

impl Surroundings {
    /// Those of the acquisition that this thread is polling right now.
    pub(crate) fn current() -> Option<Surroundings> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Runs `code` inside of them.
    pub(crate) fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        let outer = replace(Some(self.clone()));
        let _back = Back(outer);
        code()
    }
}

fn replace(new: Option<Surroundings>) -> Option<Surroundings> {
    // A thread that is being torn down has no surroundings any more, and needs none.
    CURRENT.try_with(|current| current.replace(new)).ok().flatten()
}

/// Puts the outer surroundings back, also while unwinding.
struct Back(Option<Surroundings>);

impl Drop for Back {
    fn drop(&mut self) {
        drop(replace(self.0.take()));
    }
}
