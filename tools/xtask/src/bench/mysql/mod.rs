//! `cargo xtask bench --mysql`: MySQL connections beside those of the bare driver, against a private MariaDB.
//!
//! Most figures are times, which are longer on a busy machine. So contenders take turns, and the bounds are on the
//! ratio of our time to the driver's in the same round. The driver's own pool or connection has a second turn in each
//! round: its difference from the first is noise. What callers notice of a server that stops or freezes has absolute
//! bounds; the lag of a timer is printed beside them.

mod checkout;
mod frozen;
mod query;
mod ratio;
mod table;

use std::process::ExitCode;

use reqscope_records::bench::{FrozenRun, OutageRun};
use serde::Serialize;

use super::{Options, ask, build, outage};
use crate::conditions::Conditions;
use crate::findings::{Evidence, Output, Verdict};
use crate::readme::Marks;
use crate::tree::Tree;
use crate::valgrind::Valgrind;
use checkout::Checkout;
use query::{Instructions, Query};
use ratio::Ratio;

pub(super) const MARKS: Marks =
    Marks { file: "crates/reqscope-mysql/README.md", what: "figures", command: "bench --mysql" };

/// The findings of one run.
#[derive(Serialize)]
struct Findings {
    conditions: Conditions,
    checkout: Checkout,
    query: Query,
    instructions: Instructions,
    recovery: OutageRun,
    frozen: FrozenRun,
}

impl Findings {
    fn ratios(&self) -> impl Iterator<Item = &Ratio> {
        self.checkout.ratios.iter().chain(&self.query.ratios)
    }

    /// Returns the promises that are sentences and not rows, and whether they hold.
    fn promises(&self) -> [(String, Verdict); 3] {
        let (served, in_time) = outage::served(&self.recovery);
        let (answered, at_deadline) = frozen::promise(&self.frozen);
        let served = format!("{served}, {}", outage::timer_lag(&self.recovery));
        [(served, in_time.into()), (answered, at_deadline.into()), self.instructions.promise()]
    }
}

impl Evidence for Findings {
    fn table(&self) -> String {
        table::render(self)
    }

    fn verdicts(&self) -> Vec<(String, Verdict)> {
        self.ratios().map(|ratio| (ratio.to_string(), ratio.holds.into())).chain(self.promises()).collect()
    }
}

/// Measures, prints, and fails if a promise does not hold.
pub(super) fn run(
    tree: &Tree,
    options: &Options,
    valgrind: &Valgrind,
    conditions: Conditions,
) -> anyhow::Result<ExitCode> {
    let program = build(tree, "mysql")?;
    eprintln!("measuring MySQL connections");
    let findings = Findings {
        conditions,
        checkout: checkout::measure(&program)?,
        query: query::measure(&program)?,
        instructions: query::count(valgrind, &program)?,
        recovery: ask(&program, &["mysql", "recovery"])?,
        frozen: ask(&program, &["mysql", "frozen"])?,
    };
    Output { json: options.json, write: options.write }.report(tree, &MARKS, &findings)
}
