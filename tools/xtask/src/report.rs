//! Runs steps one after the other and prints a summary of them at the end.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

/// Which steps to run.
#[derive(Args)]
pub(crate) struct Filter {
    /// Runs only the steps whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// The steps of one run. A step that fails does not stop the next one: one run shows everything that is wrong.
pub(crate) struct Report {
    filter: Filter,
    steps: Vec<Step>,
    remarks: Vec<String>,
}

struct Step {
    name: String,
    took: Duration,
    passed: bool,
}

impl Report {
    /// Creates a report of no step yet.
    pub(crate) fn new(filter: Filter) -> Report {
        Report { filter, steps: Vec::new(), remarks: Vec::new() }
    }

    /// Creates a report that runs every step.
    pub(crate) fn of_all() -> Report {
        Report::new(Filter { only: None })
    }

    /// Runs one step, unless it is filtered out. Prints its name before, its problem and its time after.
    pub(crate) fn step(&mut self, name: impl Into<String>, work: impl FnOnce() -> anyhow::Result<()>) {
        let name = name.into();
        if self.filter.only.as_ref().is_some_and(|only| !name.contains(only)) {
            return;
        }
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

    /// Adds a line that is printed after the summary.
    pub(crate) fn remark(&mut self, remark: String) {
        self.remarks.push(remark);
    }

    /// Prints the summary. Fails if any step failed, or if none ran.
    pub(crate) fn finish(self) -> ExitCode {
        let failed = self.steps.iter().filter(|step| !step.passed).count();
        let took: Duration = self.steps.iter().map(|step| step.took).sum();
        println!("\n==> summary");
        for step in &self.steps {
            println!("{step}");
        }
        println!("{} steps in {}, {failed} failed", self.steps.len(), minutes(took));
        for remark in &self.remarks {
            println!("{remark}");
        }
        if failed == 0 && !self.steps.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "ok" } else { "FAILED" };
        write!(f, "{verdict:>6} {:>8}  {}", minutes(self.took), self.name)
    }
}

/// Returns "1.3 min".
fn minutes(took: Duration) -> String {
    format!("{:.1} min", took.as_secs_f64() / 60.0)
}

/// Returns one step's findings as an error, or `Ok` if there are none.
pub(crate) fn none_of(findings: Vec<String>) -> anyhow::Result<()> {
    if findings.is_empty() { Ok(()) } else { Err(anyhow::anyhow!(findings.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_runs_only_steps_whose_name_contains_the_text() {
        let mut report = Report::new(Filter { only: Some("words".to_owned()) });
        let mut ran = Vec::new();
        for name in ["check: format", "check: words"] {
            report.step(name, || {
                ran.push(name);
                Ok(())
            });
        }
        assert_eq!(ran, ["check: words"]);
    }

    #[test]
    fn times_are_printed_in_minutes() {
        assert_eq!(minutes(Duration::from_secs(78)), "1.3 min");
    }
}
