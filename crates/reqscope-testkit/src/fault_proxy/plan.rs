//! What the connections will meet that have yet to come.

use std::collections::{BTreeMap, VecDeque};

use super::script::Script;

#[derive(Default)]
pub(super) struct Plan {
    nth: BTreeMap<usize, Script>,
    next: VecDeque<Script>,
    rest: Script,
}

impl Plan {
    /// For the one with this number.
    pub(super) fn nth(&mut self, number: usize, script: Script) {
        self.nth.insert(number, script);
    }

    /// For the next one that has none of its own.
    pub(super) fn next(&mut self, script: Script) {
        self.next.push_back(script);
    }

    /// For all others.
    pub(super) fn rest(&mut self, script: Script) {
        self.rest = script;
    }

    /// It has come.
    pub(super) fn take(&mut self, number: usize) -> Script {
        let own = self.nth.remove(&number).or_else(|| self.next.pop_front());
        own.unwrap_or_else(|| self.rest.clone())
    }
}
