//! `cargo xtask bench --mysql`: MySQL connections beside those of the bare driver, against a private MariaDB.
//!
//! Most of it are times, which a busy machine makes longer. So contenders take turns, what is judged is how many times
//! as long ours take as the driver's in the same round, and the driver's own pool or connection has a second turn in each:
//! what that differs from the first is noise. What callers notice of a server that stops or freezes is judged by bounds that
//! do not move; a timer's lag is told beside them.

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
use crate::findings::{Evidence, Tell};
use crate::readme::Marks;
use crate::tree::Tree;
use crate::valgrind::Valgrind;
use checkout::Checkout;
use query::{Instructions, Query};
use ratio::Ratio;

const MARKS: Marks = Marks { file: "crates/reqscope-mysql/README.md", what: "figures", chore: "bench --mysql" };

/// All that one run has found.
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

    /// What is told in words, and whether it holds.
    fn promises(&self) -> [(String, bool); 2] {
        let (served, in_time) = outage::served(&self.recovery);
        [(format!("{served}, {}", outage::timer_lag(&self.recovery)), in_time), frozen::promise(&self.frozen)]
    }
}

impl Evidence for Findings {
    fn table(&self) -> String {
        table::render(self)
    }

    fn broken(&self) -> Vec<String> {
        let ratios = self.ratios().map(|ratio| (ratio.to_string(), ratio.holds));
        ratios.chain(self.promises()).filter(|(_, holds)| !holds).map(|(line, _)| line).collect()
    }
}

/// Measures, prints, and fails if something does not hold.
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
    Tell { json: options.json, write: options.write }.all(tree, &MARKS, &findings)
}
