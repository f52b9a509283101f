//! The end of a command that measures: print, write, judge.

use std::process::ExitCode;

use serde::Serialize;

use crate::readme::Marks;
use crate::tree::Tree;

/// The findings of one run.
pub(crate) trait Evidence: Serialize {
    /// Returns the text for the screen and for a document.
    fn table(&self) -> String;
    /// Returns the promises that do not hold.
    fn broken(&self) -> Vec<String>;
}

/// Where the findings go.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    /// Prints JSON instead of text.
    pub(crate) json: bool,
    /// Writes the text into the document as well.
    pub(crate) write: bool,
}

impl Output {
    /// Prints and writes the findings, and fails if a promise does not hold.
    pub(crate) fn report(self, tree: &Tree, marks: &Marks, findings: &impl Evidence) -> anyhow::Result<ExitCode> {
        let table = findings.table();
        if self.json {
            println!("{}", serde_json::to_string_pretty(findings)?);
        } else {
            println!("{table}");
        }
        if self.write {
            marks.write(tree, &table)?;
        }
        let broken = findings.broken();
        for line in &broken {
            eprintln!("does not hold: {line}");
        }
        Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
