//! Runs steps one after the other and tells at the end how each of them went.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The steps of this run. A failed one does not stop the next: one run shows everything that is wrong.
#[derive(Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
    remarks: Vec<String>,
}

struct Step {
    name: String,
    took: Duration,
    passed: bool,
}

impl Report {
    /// Runs one step and prints its name before, its problem and its time after.
    pub(crate) fn step(&mut self, name: impl Into<String>, work: impl FnOnce() -> anyhow::Result<()>) {
        let name = name.into();
        println!("\n==> {name}");
        let begin = Instant::now();
        let outcome = work();
        if let Err(problem) = &outcome {
            println!("{problem:#}");
        }
        let step = Step { name, took: begin.elapsed(), passed: outcome.is_ok() };
        println!("{step}");
        self.steps.push(step);
    }

    /// Something that has to be said at the very end.
    pub(crate) fn remark(&mut self, remark: String) {
        self.remarks.push(remark);
    }

    /// Prints the summary. Fails if any step failed, or if there was none.
    pub(crate) fn finish(self) -> ExitCode {
        let failed = self.steps.iter().filter(|step| !step.passed).count();
        let took: Duration = self.steps.iter().map(|step| step.took).sum();
        println!("\n==> summary");
        for step in &self.steps {
            println!("{step}");
        }
        println!("{} steps in {:.1} s, {failed} failed", self.steps.len(), took.as_secs_f64());
        for remark in &self.remarks {
            println!("{remark}");
        }
        if failed == 0 && !self.steps.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "ok" } else { "FAILED" };
        write!(f, "{verdict:>6} {:>7.1} s  {}", self.took.as_secs_f64(), self.name)
    }
}

/// One step's findings as an error, or `Ok` if it found nothing.
pub(crate) fn none_of(findings: Vec<String>) -> anyhow::Result<()> {
    if findings.is_empty() { Ok(()) } else { Err(anyhow::anyhow!(findings.join("\n"))) }
}
