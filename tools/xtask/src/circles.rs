//! No file imports, over however many others, from one that imports from it: in no crate, neither published nor a tool.
//! Only the `mod.rs` of a folder, and the root of a crate, are free: what they define is there for the files below
//! them.
//!
//! ARCHITECTURE.md may name exceptions, with their reasons, in a fenced block `text circles`. They
//! count for the floors, too.
//!
//! ```text
//! examples/storm/a.rs -> examples/storm/b.rs: why this one must be
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use crate::architecture::{self, DOCUMENT, Exception};
use crate::imports::Imports;
use crate::report::none_of;
use crate::tree::Tree;

/// The most exceptions that there may be.
const MOST: usize = 10;

/// Fails for each circle of files, and for each exception that is not needed.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let mut graph = Graph::default();
    for folder in roots(tree) {
        let imports = Imports::read(tree, folder)?;
        for import in imports.all().filter(|import| !import.passed_on && !import.from.starts_with(import.to)) {
            graph.add(&import.file.display().to_string(), &import.to_file.display().to_string());
        }
    }
    let exceptions = architecture::exceptions(&tree.read(Path::new(DOCUMENT))?)?;
    none_of(graph.judge(&exceptions))
}

/// Returns the folders of all `lib.rs` and `main.rs` but those of tests.
fn roots(tree: &Tree) -> BTreeSet<&Path> {
    let files = tree.files("rs").filter(|file| file.ends_with("lib.rs") || file.ends_with("main.rs"));
    files.filter(|file| file.iter().all(|name| name != "tests")).filter_map(Path::parent).collect()
}

/// Which file imports from which.
#[derive(Default)]
struct Graph {
    imports: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn add(&mut self, from: &str, to: &str) {
        self.imports.entry(from.to_owned()).or_default().insert(to.to_owned());
    }

    /// Returns what is wrong with the graph or with the exceptions.
    fn judge(mut self, exceptions: &[Exception]) -> Vec<String> {
        let mut findings = Vec::new();
        if exceptions.len() > MOST {
            findings
                .push(format!("{DOCUMENT} excepts {} imports from the rule, of at most {MOST}", exceptions.len()));
        }
        for Exception { from, to } in exceptions {
            let is_there = self.imports.get(from).is_some_and(|imports| imports.contains(to));
            if !is_there || self.way(to, from).is_none() {
                findings.push(format!("{from} -> {to}: excepted in {DOCUMENT}, but there is no such circle"));
            }
        }
        for Exception { from, to } in exceptions {
            self.imports.get_mut(from).map(|imports| imports.remove(to));
        }
        let mut reported = BTreeSet::new();
        for file in self.imports.keys() {
            if reported.contains(file) {
                continue;
            }
            if let Some(circle) = self.way(file, file) {
                findings.push(format!("a circle: {}", circle.join(" -> ")));
                reported.extend(circle);
            }
        }
        findings
    }

    /// Returns a shortest way of at least one import.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut ways = VecDeque::from([vec![from.to_owned()]]);
        let mut reached = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            for next in way.last().and_then(|last| self.imports.get(last)).into_iter().flatten() {
                let longer: Vec<String> = way.iter().chain([next]).cloned().collect();
                if next == to {
                    return Some(longer);
                }
                if reached.insert(next) {
                    ways.push_back(longer);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let mut graph = Graph::default();
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")] {
            graph.add(from, to);
        }
        graph
    }

    fn edge(from: &str, to: &str) -> Exception {
        Exception::of(from, to)
    }

    #[test]
    fn circle_is_reported_once() {
        assert_eq!(graph().judge(&[]), ["a circle: a -> b -> c -> a"]);
    }

    #[test]
    fn exception_opens_a_circle() {
        assert!(graph().judge(&[edge("c", "a")]).is_empty());
    }

    #[test]
    fn stale_exceptions_are_reported() {
        assert_eq!(graph().judge(&[edge("c", "a"), edge("c", "d")]).len(), 1);
        assert_eq!(graph().judge(&[edge("c", "a"), edge("e", "a")]).len(), 1);
    }

    #[test]
    fn exceptions_are_counted() {
        let many: Vec<_> = (0..=MOST).map(|_| edge("c", "a")).collect();
        assert_eq!(graph().judge(&many), ["ARCHITECTURE.md excepts 11 imports from the rule, of at most 10"]);
    }
}
