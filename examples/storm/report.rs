//! The storm's report: tables for people, JSON for programs.
use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::modifiers::UTF8_ROUND_CORNERS;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use console::style;
use indicatif::HumanCount;
use serde::Serialize;

use crate::client::protocol::Protocol;
use crate::client::results::Tally;
use crate::invariants::{self, Invariant};
use crate::options::Load;
use crate::server::shutdown::Served;
use crate::server::stats::{Database, Pool, Stats};

/// Everything there is to tell.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) protocol: Protocol,
    pub(crate) seed: u64,
    pub(crate) requests: u64,
    pub(crate) connections: u16,
    pub(crate) seconds: f64,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    pub(crate) server: Stats,
    /// How many of 10 handles could be taken at once when all was over.
    pub(crate) probe: u64,
    /// How many answers promised a row that is not there.
    pub(crate) broken_promises: u64,
    pub(crate) invariants: Vec<Invariant>,
}

impl Report {
    pub(crate) fn new(
        seed: u64,
        load: &Load,
        elapsed: Duration,
        tally: Tally,
        server: Stats,
        probe: u64,
        tags: &HashSet<u32>,
    ) -> Report {
        let mut report = Report {
            protocol: load.protocol(),
            broken_promises: tally.promised.iter().filter(|tag| !tags.contains(tag)).count() as u64,
            seed,
            requests: load.requests,
            connections: load.connections,
            seconds: elapsed.as_secs_f64(),
            tally,
            server,
            probe,
            invariants: Vec::new(),
        };
        report.invariants = invariants::check(&report);
        report
    }

    /// Adds how the server of this process came to its end.
    pub(crate) fn after_shutdown(mut self, served: &Served) -> Report {
        self.invariants.extend(invariants::shutdown(served));
        self
    }

    pub(crate) fn broken(&self) -> impl Iterator<Item = &Invariant> {
        self.invariants.iter().filter(|invariant| !invariant.holds)
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self).context("the report cannot be told in JSON")?;
        std::fs::write(file, json + "\n").with_context(|| format!("cannot write {}", file.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { protocol, seed, requests, connections, seconds, .. } = self;
        let (requests, stack) = (HumanCount(*requests), self.server.stack.name());
        writeln!(f, "\n{requests} fates over {connections} connections in {seconds:.1} s, seed {seed}")?;
        writeln!(f, "{} against {stack}", protocol.name())?;
        writeln!(f, "{}", fates(&self.tally))?;

        let Stats { cut, .. } = self.server;
        let stages = [
            ("before the first poll", cut.before_first_poll),
            ("before the first use", cut.before_first_use),
            ("acquiring", cut.acquiring),
            ("holding", cut.holding),
            ("in a transaction", cut.transaction),
            ("in the body", cut.body),
        ];
        writeln!(f, "\nHandlers cut\n{}", counts(&stages))?;

        let server = &self.server;
        let handles = [
            ("acquired", server.acquired),
            ("released", server.released),
            ("abandoned", server.abandoned),
            ("live", server.live),
            ("released twice", server.double_released),
            ("used after release", server.used_after_release),
            ("told another exit", server.misled),
        ];
        writeln!(f, "\nHandles\n{}", counts(&handles))?;

        let transactions = [
            ("commits", server.committed),
            ("rows", server.rows),
            ("saw another's value", server.crossed),
            ("had another's answer", server.shifted),
            ("refused as busy", server.busy),
        ];
        writeln!(f, "\nTransactions\n{}\n", counts(&transactions))?;

        if let Some(pool) = &server.pool {
            let Pool { size, in_use, idle, in_between: _, waiting, opened, closed, most } = *pool;
            let slots = [
                ("size", size),
                ("most at once", most),
                ("in use", in_use),
                ("idle", idle),
                ("waiting", waiting),
                ("opened", opened),
                ("closed", closed),
            ];
            writeln!(f, "Pool\n{}\n", counts(&slots))?;
        }

        if let Some(database) = &server.database {
            let Database { cut, kills, looks, running, most, orphaned, ran_on_ms } = *database;
            let statements = [
                ("cut", cut),
                ("KILLs", kills),
                ("orphaned", orphaned),
                ("running", running),
                ("most at once", most),
                ("last seen after ms", ran_on_ms),
                ("looks", looks),
            ];
            writeln!(f, "Statements, as the database's server has them\n{}\n", counts(&statements))?;
        }

        writeln!(f, "Not told over {}", protocol.name())?;
        for (what, why) in protocol.untold() {
            writeln!(f, "- {what}: {why}")?;
        }
        writeln!(f)?;

        for Invariant { name, holds, found } in &self.invariants {
            if *holds {
                writeln!(f, "{} {name}", style("✓").green())?;
            } else {
                writeln!(f, "{} {}: {found}", style("✗").red().bold(), style(name).red().bold())?;
            }
        }
        Ok(())
    }
}

fn fates(tally: &Tally) -> Table {
    let mut table = table(["fate", "sent", "requests", "answered", "p50 ms", "p99 ms"]);
    let milliseconds = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
    for row in &tally.fates {
        let name = row.fate.name().into();
        let numbers = [row.sent, row.requests, row.answered].map(|count| HumanCount(count).to_string());
        let quantiles = [row.p50_ms, row.p99_ms].map(milliseconds);
        table.add_row([name].into_iter().chain(numbers).chain(quantiles));
    }
    table
}

fn counts<const N: usize>(counts: &[(&str, u64); N]) -> Table {
    let mut table = table(counts.map(|(name, _)| name));
    table.add_row(counts.map(|(_, count)| HumanCount(count).to_string()));
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Numbers stand to the right, so that their digits stand below each other.
fn table<const N: usize>(head: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).apply_modifier(UTF8_ROUND_CORNERS).set_header(head);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
