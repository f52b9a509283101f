//! One noun, one file: a file that needs more than 400 lines holds two nouns.

use crate::report::none_of;
use crate::tree::Tree;

const CEILING: usize = 400;

/// Fails for each source file that is longer than the ceiling.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    for file in tree.files("rs") {
        let lines = tree.read(file)?.lines().count();
        if lines > CEILING {
            findings.push(format!("{}: {lines} lines, the ceiling is {CEILING}: cut it", file.display()));
        }
    }
    none_of(findings)
}
