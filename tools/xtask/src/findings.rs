//! What a chore that measures says at its end.

use std::process::ExitCode;

use serde::Serialize;

use crate::readme::Marks;
use crate::tree::Tree;

/// All that one run has found.
pub(crate) trait Evidence: Serialize {
    /// For people, as it stands in a document.
    fn table(&self) -> String;
    /// The promises that do not hold.
    fn broken(&self) -> Vec<String>;
}

/// Where to say it.
#[derive(Clone, Copy)]
pub(crate) struct Tell {
    /// In JSON, for other programs.
    pub(crate) json: bool,
    /// In the document, too.
    pub(crate) write: bool,
}

impl Tell {
    /// Prints it, writes it down, and fails if a promise does not hold.
    pub(crate) fn all(self, tree: &Tree, marks: &Marks, findings: &impl Evidence) -> anyhow::Result<ExitCode> {
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
