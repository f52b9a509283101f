use std::any::{Any, TypeId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::{mem, slice};

use crate::exit::Exit;
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;
use crate::scope::close_error::Problem;

/// A cell, seen from its scope, which does not know its type.
pub(crate) trait ErasedSlot: Any + Send + Sync {
    /// The type and the address of the resource. No address is used twice: the cell keeps its `Arc`.
    fn key(&self) -> Key;

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// The how-manieth acquisition of the scope its handle was.
    fn order(&self) -> usize;

    /// Ends all lending. Is there a handle at home? What stands in the way of settling as `told` is a problem.
    fn seal(&self, requested: Exit, problems: &mut Vec<Problem>) -> bool;

    /// Does the outcome of a release with this exit matter to the client?
    fn settles(&self, exit: Exit) -> bool;

    /// After the seal: begins the release of what is at home, in the time that is left, or by default in the time
    /// that any release has. `None`: there is nothing to wait for.
    fn release(&self, exit: Exit, deadline: Option<&Deadline>) -> Option<ErasedRelease>;

    /// The type of the resource.
    fn resource(&self) -> &'static str;

    /// All three phases at once, for the only tenant of a scope: what settles nothing has nothing that it could be
    /// told by others, or they by it. `false`: it does settle, and nothing was done.
    fn close_alone(&self, requested: Exit) -> bool;
}

pub(crate) type Key = (TypeId, usize);

/// A release whose type is forgotten. It may be dropped: the reaper then takes it.
pub(crate) struct ErasedRelease {
    pub(crate) future: Pin<Box<dyn Future<Output = Result<(), Problem>> + Send>>,
    /// Where the handle was acquired.
    pub(crate) runtime: Option<Runtime>,
    /// The type of the resource.
    pub(crate) resource: &'static str,
}

/// All cells of a scope.
#[derive(Default)]
pub(crate) enum ErasedSlots {
    #[default]
    None,
    /// As most requests have it: no allocation for a list.
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

    /// The newest one comes after those that were there before.
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

    /// Brings them in the order of their release as `verdict`: the settling ones first, each kind in reverse order
    /// of acquisition.
    pub(crate) fn sort(&mut self, verdict: Exit) {
        if let ErasedSlots::Many(slots) = self {
            // `next` takes them from the end.
            slots.sort_by_cached_key(|slot| (slot.settles(verdict), slot.order()));
        }
    }

    /// The next one to release.
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
