use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::{mem, slice};

use crate::exit::Exit;
use crate::identity::Identity;
use crate::lease::Caller;
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;
use crate::scope::close_error::Problem;

/// The slot of a cell without its type, as its scope sees it.
pub(crate) trait ErasedSlot: Any + Send + Sync {
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// Returns the number of the acquisition of its handle within the scope.
    fn order(&self) -> u32;

    /// Ends all lending, and returns what is left to do. Adds a problem if the slot cannot settle as `requested`.
    fn seal(&self, requested: Exit, problems: &mut Vec<Problem>) -> Sealing;

    /// Returns whether the outcome of a release with this exit matters to the client.
    fn settles(&self, exit: Exit) -> bool;

    /// Begins the release of the idle handle, after the seal. `deadline` is that of the close; without one, the release
    /// has the usual timeout. Returns `None` if there is nothing to wait for.
    fn release(&self, exit: Exit, deadline: Option<&Deadline>) -> Option<ErasedRelease>;

    /// Waits for a handle that ends early. Returns `None` if that is over.
    fn wait_for_end(self: Arc<Self>, deadline: &Deadline) -> Option<ErasedRelease>;

    /// Returns the type of the resource.
    fn resource(&self) -> &'static str;

    /// Runs all three phases of a close at once, for the only slot of a scope. Without a settling slot, no problem can
    /// change the verdict, which it returns. Returns `None`, and releases nothing, if this slot settles.
    fn close_alone(&self, requested: Exit, caller: Caller) -> Option<Exit>;
}

/// What a seal leaves to do.
#[derive(PartialEq, Eq)]
pub(crate) enum Sealing {
    Nothing,
    /// The idle handle is to be released.
    Idle,
    /// The handle is being released early, and the client waits for it.
    Ending,
}

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
    One(KeyedSlot),
    Many(Box<SlotList>),
}

/// A slot and the identity of its resource, which is kept here so that a look-up does not call the other slots.
pub(crate) struct KeyedSlot {
    identity: Identity,
    slot: Arc<dyn ErasedSlot>,
}

impl KeyedSlot {
    /// Returns the slot, if it is a `T`. Resources of two types are two resources, also if they have one identity, as
    /// two wrappers around clones of one pool have. An identity is an address that is not used again, because the slot
    /// keeps its resource alive.
    #[inline]
    fn downcast<T: ErasedSlot>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.slot).into_any().downcast().ok()
    }

    fn slot_type(&self) -> TypeId {
        (*self.slot).type_id()
    }
}

impl Deref for KeyedSlot {
    type Target = dyn ErasedSlot;

    fn deref(&self) -> &Self::Target {
        &*self.slot
    }
}

impl ErasedSlots {
    /// Returns the slot of the resource with this identity, which is a `T`.
    #[inline]
    pub(crate) fn find<T: ErasedSlot>(&self, identity: Identity) -> Option<Arc<T>> {
        match self {
            ErasedSlots::None => None,
            ErasedSlots::One(only) if only.identity == identity => only.downcast(),
            ErasedSlots::One(_) => None,
            ErasedSlots::Many(list) => list.find(identity),
        }
    }

    /// Adds the slot of another resource. Returns whether there was a slot of the same type.
    pub(crate) fn push(&mut self, identity: Identity, slot: Arc<dyn ErasedSlot>) -> bool {
        let new = KeyedSlot { identity, slot };
        match self {
            ErasedSlots::None => {
                *self = ErasedSlots::One(new);
                false
            }
            _ => self.join(new),
        }
    }

    #[cold]
    fn join(&mut self, new: KeyedSlot) -> bool {
        let mut list = match mem::take(self) {
            ErasedSlots::None => Box::default(),
            ErasedSlots::One(first) => Box::new(SlotList { slots: vec![first], index: None }),
            ErasedSlots::Many(list) => list,
        };
        let has_type = list.push(new);
        *self = ErasedSlots::Many(list);
        has_type
    }

    pub(crate) fn as_slice(&self) -> &[KeyedSlot] {
        match self {
            ErasedSlots::None => &[],
            ErasedSlots::One(only) => slice::from_ref(only),
            ErasedSlots::Many(list) => &list.slots,
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Arc<dyn ErasedSlot>) -> bool) {
        match self {
            ErasedSlots::None => {}
            ErasedSlots::One(only) if keep(&only.slot) => {}
            ErasedSlots::One(_) => *self = ErasedSlots::None,
            ErasedSlots::Many(list) => {
                list.index = None;
                list.slots.retain(|slot| keep(&slot.slot));
            }
        }
    }

    /// Sorts the slots into the order of their release as `verdict`: settling ones first, and each kind in reverse
    /// order of acquisition.
    pub(crate) fn sort(&mut self, verdict: Exit) {
        if let ErasedSlots::Many(list) = self {
            list.index = None;
            // `next` takes them from the end.
            list.slots.sort_by_cached_key(|slot| (slot.settles(verdict), slot.order()));
        }
    }

    /// Returns the next slot to release.
    pub(crate) fn peek(&self) -> Option<&dyn ErasedSlot> {
        self.as_slice().last().map(Deref::deref)
    }

    pub(crate) fn next(&mut self) -> Option<Arc<dyn ErasedSlot>> {
        let next = match self {
            ErasedSlots::Many(list) => {
                list.index = None;
                list.slots.pop()
            }
            _ => match mem::take(self) {
                ErasedSlots::One(only) => Some(only),
                _ => None,
            },
        };
        next.map(|next| next.slot)
    }
}

/// Several slots of one scope, in the order in which they were created.
#[derive(Default)]
pub(crate) struct SlotList {
    slots: Vec<KeyedSlot>,
    /// Only while the scope is open: a list that is being released has none.
    index: Option<SlotIndex>,
}

/// The places of the slots in their list, and their types. Maps with an order, whose look-ups need no random seed.
#[derive(Default)]
struct SlotIndex {
    places: BTreeMap<(usize, TypeId), usize>,
    types: BTreeSet<TypeId>,
}

/// How many slots are looked through. A longer list has an index, or else a scope that uses thousands of resources, such
/// as one for each shard, would need a time that grows with their square.
const SCANNED: usize = 16;

impl SlotList {
    fn find<T: ErasedSlot>(&self, identity: Identity) -> Option<Arc<T>> {
        match &self.index {
            None => self.slots.iter().filter(|slot| slot.identity == identity).find_map(KeyedSlot::downcast),
            Some(index) => self.slots.get(*index.places.get(&(identity.address(), TypeId::of::<T>()))?)?.downcast(),
        }
    }

    fn push(&mut self, new: KeyedSlot) -> bool {
        let has_type = match &self.index {
            None => self.slots.iter().any(|slot| slot.slot_type() == new.slot_type()),
            Some(index) => index.types.contains(&new.slot_type()),
        };
        match &mut self.index {
            Some(index) => index.add(&new, self.slots.len()),
            None if self.slots.len() < SCANNED => {}
            index => {
                let index = index.insert(SlotIndex::default());
                self.slots.iter().chain([&new]).enumerate().for_each(|(place, slot)| index.add(slot, place));
            }
        }
        self.slots.push(new);
        has_type
    }
}

impl SlotIndex {
    fn add(&mut self, slot: &KeyedSlot, place: usize) {
        self.places.insert((slot.identity.address(), slot.slot_type()), place);
        self.types.insert(slot.slot_type());
    }
}
