//! The storm's report: tables for people, JSON for programs.
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
use crate::client::results::Results;
use crate::findings::Findings;
use crate::invariants::{self, Invariant};
use crate::options::LoadOptions;
use crate::server::shutdown::Shutdown;
use crate::server::stats::{Database, Pool, Stats};

/// The report of a storm.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) protocol: Protocol,
    pub(crate) seed: u64,
    pub(crate) requests: u64,
    pub(crate) connections: u16,
    pub(crate) seconds: f64,
    #[serde(flatten)]
    findings: Findings,
    pub(crate) invariants: Vec<Invariant>,
}

impl Report {
    /// Checks the invariants of a storm.
    pub(crate) fn new(seed: u64, load: &LoadOptions, elapsed: Duration, findings: Findings) -> Report {
        Report {
            protocol: load.protocol(),
            seed,
            requests: load.requests,
            connections: load.connections,
            seconds: elapsed.as_secs_f64(),
            invariants: invariants::check(&findings),
            findings,
        }
    }

    /// Adds the invariants of the shutdown, where the server was in this process.
    pub(crate) fn after_shutdown(mut self, shutdown: &Shutdown) -> Report {
        self.invariants.extend(invariants::shutdown(shutdown));
        self
    }

    /// Returns the broken invariants.
    pub(crate) fn broken(&self) -> impl Iterator<Item = &Invariant> {
        self.invariants.iter().filter(|invariant| !invariant.holds)
    }

    /// Writes the report to a file, as JSON.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self).context("the report cannot be written as JSON")?;
        std::fs::write(file, json + "\n").with_context(|| format!("cannot write {}", file.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { protocol, seed, requests, connections, seconds, .. } = self;
        let (requests, stack) = (HumanCount(*requests), self.findings.server.stack.name());
        writeln!(f, "\n{requests} scenarios over {connections} connections in {seconds:.1} s, seed {seed}")?;
        writeln!(f, "{} against {stack}", protocol.name())?;
        writeln!(f, "{}", scenarios(&self.findings.results))?;

        let Stats { cut, .. } = self.findings.server;
        let stages = [
            ("before the first poll", cut.before_first_poll),
            ("before the first use", cut.before_first_use),
            ("acquiring", cut.acquiring),
            ("holding", cut.holding),
            ("in a transaction", cut.transaction),
            ("in the body", cut.body),
        ];
        writeln!(f, "\nHandlers cut\n{}", counts(&stages))?;

        let server = &self.findings.server;
        let handles = [
            ("acquired", server.acquired),
            ("released", server.released),
            ("abandoned", server.abandoned),
            ("live", server.live),
            ("released twice", server.double_released),
            ("used after release", server.used_after_release),
            ("wrong exit", server.wrong_exits),
        ];
        writeln!(f, "\nHandles\n{}", counts(&handles))?;

        let transactions = [
            ("commits", server.committed),
            ("rows", server.rows),
            ("read another's value", server.crossed),
            ("got another's answer", server.wrong_answers),
            ("refused as busy", server.busy),
        ];
        writeln!(f, "\nTransactions\n{}\n", counts(&transactions))?;

        if let Some(pool) = &server.pool {
            let Pool { size, in_use, idle, opening_or_closing: _, waiting, opened, closed, peak } = *pool;
            let slots = [
                ("size", size),
                ("most at once", peak),
                ("in use", in_use),
                ("idle", idle),
                ("waiting", waiting),
                ("opened", opened),
                ("closed", closed),
            ];
            writeln!(f, "Pool\n{}\n", counts(&slots))?;
        }

        if let Some(database) = &server.database {
            let Database { cut, kills, polls, running, peak, orphaned, last_running_ms } = *database;
            let statements = [
                ("cut", cut),
                ("KILLs", kills),
                ("orphaned", orphaned),
                ("running", running),
                ("most at once", peak),
                ("last seen after ms", last_running_ms),
                ("polls", polls),
            ];
            writeln!(f, "Statements, according to the database's server\n{}\n", counts(&statements))?;
        }

        writeln!(f, "Not covered over {}", protocol.name())?;
        for (what, why) in protocol.not_covered() {
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

fn scenarios(results: &Results) -> Table {
    let mut table = table(["scenario", "sent", "requests", "answered", "p50 ms", "p99 ms"]);
    let milliseconds = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
    for row in &results.scenarios {
        let name = row.scenario.name().into();
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

/// Creates a table. Numbers are aligned to the right.
fn table<const N: usize>(head: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).apply_modifier(UTF8_ROUND_CORNERS).set_header(head);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
