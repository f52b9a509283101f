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

#[cfg(all(test, not(reqscope_loom)))]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime needs no resources")
    }

    #[test]
    fn runtime_keeps_its_number() {
        let (first, second, mut numbered) = (runtime(), runtime(), Numbered::default());
        let added = [first.handle(), second.handle(), first.handle()].map(|runtime| numbered.add(runtime));
        assert_eq!(added, [(0, true), (1, true), (0, false)]);
        assert_eq!(numbered.get(1).map(Runtime::id), Some(second.handle().id()));
        assert!(numbered.get(Numbered::NONE).is_none());
    }

    #[test]
    fn number_of_a_removed_runtime_is_used_again() {
        let (first, second, mut numbered) = (runtime(), runtime(), Numbered::default());
        numbered.add(first.handle());
        assert!(numbered.remove(0).is_some() && numbered.get(0).is_none() && numbered.remove(0).is_none());
        assert_eq!(numbered.add(second.handle()), (0, true));
    }
}
