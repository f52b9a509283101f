use std::any::{Any, TypeId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::{mem, slice};

use crate::exit::Exit;
use crate::lease::Caller;
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;
use crate::scope::close_error::Problem;

/// The slot of a cell without its type, as its scope sees it.
pub(crate) trait ErasedSlot: Any + Send + Sync {
    /// Returns the type and the address of the resource. No two resources have the same address, because the slot keeps
    /// the `Arc`.
    fn key(&self) -> Key;

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// Returns the number of the acquisition of its handle within the scope.
    fn order(&self) -> usize;

    /// Ends all lending, and returns whether there is an idle handle to release. Adds a problem if the slot cannot
    /// settle as `requested`.
    fn seal(&self, requested: Exit, problems: &mut Vec<Problem>) -> bool;

    /// Returns whether the outcome of a release with this exit matters to the client.
    fn settles(&self, exit: Exit) -> bool;

    /// Begins the release of the idle handle, after the seal. `deadline` is that of the close; without one, the release
    /// has the usual timeout. Returns `None` if there is nothing to wait for.
    fn release(&self, exit: Exit, deadline: Option<&Deadline>) -> Option<ErasedRelease>;

    /// Returns the type of the resource.
    fn resource(&self) -> &'static str;

    /// Runs all three phases of a close at once, for the only slot of a scope. Without a settling slot, no problem can
    /// change the verdict, which it returns. Returns `None`, and does nothing, if this slot settles.
    fn close_alone(&self, requested: Exit, caller: Caller) -> Option<Exit>;
}

pub(crate) type Key = (TypeId, usize);

/// A release without its type. If it is dropped, it goes on in the reaper.
pub(crate) struct ErasedRelease {
    pub(crate) future: Pin<Box<dyn Future<Output = Result<(), Problem>> + Send>>,
    /// The runtime on which the handle was acquired.
    pub(crate) runtime: Option<Runtime>,
    /// The type of the resource.
    pub(crate) resource: &'static str,
}

/// All slots of a scope.
#[derive(Default)]
pub(crate) enum ErasedSlots {
    #[default]
    None,
    /// The usual case, without an allocation for a list.
    One(Arc<dyn ErasedSlot>),
    Many(Vec<Arc<dyn ErasedSlot>>),
}

impl ErasedSlots {
    pub(crate) fn as_slice(&self) -> &[Arc<dyn ErasedSlot>] {
        match self {
            ErasedSlots::None => &[],
            ErasedSlots::One(slot) => slice::from_ref(slot),
            ErasedSlots::Many(slots) => slots,
        }
    }

    pub(crate) fn push(&mut self, slot: Arc<dyn ErasedSlot>) {
        match mem::replace(self, ErasedSlots::One(slot)) {
            ErasedSlots::None => {}
            before => self.join(before),
        }
    }

    /// Appends the new slot to the ones before.
    #[cold]
    fn join(&mut self, before: Self) {
        let mut all = match before {
            ErasedSlots::None => Vec::new(),
            ErasedSlots::One(first) => vec![first],
            ErasedSlots::Many(many) => many,
        };
        all.extend(self.next());
        *self = ErasedSlots::Many(all);
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&dyn ErasedSlot) -> bool) {
        match self {
            ErasedSlots::None => {}
            ErasedSlots::One(slot) if keep(&**slot) => {}
            ErasedSlots::One(_) => *self = ErasedSlots::None,
            ErasedSlots::Many(slots) => slots.retain(|slot| keep(&**slot)),
        }
    }

    /// Sorts the slots into the order of their release as `verdict`: settling ones first, and each kind in reverse
    /// order of acquisition.
    pub(crate) fn sort(&mut self, verdict: Exit) {
        if let ErasedSlots::Many(slots) = self {
            // `next` takes them from the end.
            slots.sort_by_cached_key(|slot| (slot.settles(verdict), slot.order()));
        }
    }

    /// Returns the next slot to release.
    pub(crate) fn peek(&self) -> Option<&Arc<dyn ErasedSlot>> {
        self.as_slice().last()
    }

    pub(crate) fn next(&mut self) -> Option<Arc<dyn ErasedSlot>> {
        if let ErasedSlots::Many(slots) = self {
            return slots.pop();
        }
        match mem::take(self) {
            ErasedSlots::One(slot) => Some(slot),
            _ => None,
        }
    }
}
