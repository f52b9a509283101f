//! Runtimes by numbers, which take less memory.

use crate::rt::runtime::{Runtime, RuntimeId};

/// The runtimes, each at the place of its number. A number is used again after its runtime was removed.
#[derive(Default)]
pub(crate) struct Numbered(Vec<Option<Runtime>>);

impl Numbered {
    /// Not the number of a runtime.
    pub(crate) const NONE: u16 = u16::MAX;

    pub(crate) fn get(&self, number: u16) -> Option<&Runtime> {
        self.0.get(usize::from(number))?.as_ref()
    }

    /// Returns the number of a runtime, and whether it is new.
    pub(crate) fn add(&mut self, runtime: &Runtime) -> (u16, bool) {
        let find = |id: Option<RuntimeId>| self.0.iter().position(|known| known.as_ref().map(Runtime::id) == id);
        let known = find(Some(runtime.id()));
        let number = known.or_else(|| find(None)).unwrap_or(self.0.len());
        self.0.resize(self.0.len().max(number + 1), None);
        self.0[number] = Some(runtime.clone());
        (u16::try_from(number).unwrap_or(Self::NONE), known.is_none())
    }

    pub(crate) fn remove(&mut self, number: u16) -> Option<Runtime> {
        self.0.get_mut(usize::from(number))?.take()
    }
}
