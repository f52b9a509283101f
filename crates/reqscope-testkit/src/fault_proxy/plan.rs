//! The scripts of future connections.

use std::collections::{BTreeMap, VecDeque};

use super::script::Script;

#[derive(Default)]
pub(super) struct Plan {
    nth: BTreeMap<usize, Script>,
    next: VecDeque<Script>,
    rest: Script,
}

impl Plan {
    /// Sets the script of the connection with this number.
    pub(super) fn nth(&mut self, number: usize, script: Script) {
        self.nth.insert(number, script);
    }

    /// Sets the script of the next connection that has none of its own.
    pub(super) fn next(&mut self, script: Script) {
        self.next.push_back(script);
    }

    /// Sets the script of all other connections.
    pub(super) fn rest(&mut self, script: Script) {
        self.rest = script;
    }

    /// Takes the script of a new connection.
    pub(super) fn take(&mut self, number: usize) -> Script {
        let own = self.nth.remove(&number).or_else(|| self.next.pop_front());
        own.unwrap_or_else(|| self.rest.clone())
    }
}
