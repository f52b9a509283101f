//! The end of a command that measures: print, write, judge.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

use crate::readme::Marks;
use crate::tree::Tree;

/// Whether a promise holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Holds,
    Broken,
    /// The noise of the run is larger than the distance between the figure and its bound. This is not a pass.
    NotJudged,
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Verdict {
        if holds { Verdict::Holds } else { Verdict::Broken }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Holds => "holds",
            Verdict::Broken => "does not hold",
            Verdict::NotJudged => "not judged",
        })
    }
}

impl Verdict {
    /// Returns the verdict at the end of a line of a document.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Broken => "**does not hold**",
            Verdict::NotJudged => {
                "**not judged**, which is not a pass: the noise is larger than the distance to the bound"
            }
        }
    }
}

/// The findings of one run.
pub(crate) trait Evidence: Serialize {
    /// Returns the text for the screen and for a document.
    fn table(&self) -> String;
    /// Returns the promises, and whether each holds.
    fn verdicts(&self) -> Vec<(String, Verdict)>;
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
    /// Prints and writes the findings, and fails unless every promise was judged and holds.
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
        let mut code = ExitCode::SUCCESS;
        for (line, verdict) in findings.verdicts() {
            if verdict != Verdict::Holds {
                eprintln!("{verdict}: {line}");
                code = ExitCode::FAILURE;
            }
        }
        Ok(code)
    }
}
