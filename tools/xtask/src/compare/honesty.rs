//! The honesty table: each fault on each contender, in a process of its own.

use std::fmt;

use reqscope_records::compare::{ContenderInfo, Judged, RowInfo, Verdict};
use serde::Serialize;

use super::program::Program;

/// The table of one kind of contenders.
#[derive(Serialize)]
pub(super) struct Honesty {
    pub(super) contenders: Vec<ContenderInfo>,
    pub(super) rows: Vec<Row>,
}

/// One fault and its outcome on each contender, in the order of the contenders.
#[derive(Serialize)]
pub(super) struct Row {
    name: String,
    pub(super) title: String,
    pub(super) cells: Vec<Cell>,
}

#[derive(Serialize)]
pub(super) struct Cell {
    #[serde(flatten)]
    pub(super) verdict: Verdict,
    /// The command that causes the same fault on the same contender alone.
    command: String,
}

/// A kind of contenders, by the subcommands of reqscope-compare.
pub(super) struct Kind {
    pub(super) list: &'static str,
    pub(super) rows: &'static str,
    pub(super) fault: &'static str,
}

/// Pools.
pub(super) const POOLS: Kind = Kind { list: "list", rows: "rows", fault: "fault" };

/// Lazy cells.
pub(super) const CELLS: Kind = Kind { list: "cell-list", rows: "cell-rows", fault: "cell-fault" };

impl Kind {
    pub(super) fn contenders(&self, program: &Program) -> anyhow::Result<Vec<ContenderInfo>> {
        program.ask(&[self.list])
    }

    /// Causes the faults for which `faults` returns `true`, on these contenders.
    pub(super) fn judge(
        &self,
        program: &Program,
        faults: impl Fn(&str) -> bool,
        contenders: Vec<ContenderInfo>,
    ) -> anyhow::Result<Honesty> {
        let listed: Vec<RowInfo> = program.ask(&[self.rows])?;
        let mut rows = Vec::new();
        for RowInfo { name, title } in listed.into_iter().filter(|row| faults(&row.name)) {
            eprintln!("causing {name}");
            let cells = contenders.iter().map(|contender| self.cell(program, &name, contender)).collect();
            rows.push(Row { name, title, cells });
        }
        Ok(Honesty { contenders, rows })
    }

    fn cell(&self, program: &Program, fault: &str, contender: &ContenderInfo) -> Cell {
        let judged = program.ask::<Judged>(&[self.fault, fault, &contender.name]);
        Cell {
            // A contender that takes its process down has not passed.
            verdict: judged.map_or_else(|error| Verdict::Fail(format!("{error:#}")), |judged| judged.verdict),
            command: format!("cargo xtask compare --{} {fault} --on {}", self.fault, contender.name),
        }
    }
}

impl Honesty {
    /// Returns a note for each failed cell, in the order of the rows.
    pub(super) fn notes(&self) -> Vec<Note<'_>> {
        let cells = self.rows.iter().flat_map(|row| {
            row.cells.iter().zip(&self.contenders).map(move |(cell, contender)| (row, cell, contender))
        });
        cells
            .filter_map(|(row, cell, contender)| match &cell.verdict {
                Verdict::Fail(saw) => Some(Note { row, contender, saw, command: &cell.command }),
                Verdict::Pass | Verdict::NotOffered => None,
            })
            .collect()
    }
}

/// Why a cell failed.
pub(super) struct Note<'a> {
    pub(super) row: &'a Row,
    pub(super) contender: &'a ContenderInfo,
    saw: &'a str,
    command: &'a str,
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Note { contender, saw, command, .. } = self;
        let name = contender.release().unwrap_or_else(|| contender.title.clone());
        write!(f, "{name}: {saw} (`{command}`)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(verdict: Verdict) -> Cell {
        Cell { verdict, command: "xtask".to_owned() }
    }

    #[test]
    fn failing_cell_has_a_note_with_release_and_command() {
        let contender = |name: &str| ContenderInfo {
            name: name.to_owned(),
            title: name.to_owned(),
            package: Some(name.to_owned()),
            version: Some("1.2.3".to_owned()),
        };
        let row = |cells: [Verdict; 2]| Row {
            name: "hang".to_owned(),
            title: "a fault".to_owned(),
            cells: cells.map(cell).into(),
        };
        let fail = || Verdict::Fail("it hung".to_owned());
        let rows = vec![
            row([Verdict::Pass, fail()]),
            row([Verdict::Pass, Verdict::NotOffered]),
            row([fail(), Verdict::Pass]),
        ];
        let honesty = Honesty { contenders: ["ours", "theirs"].map(contender).into(), rows };
        let notes: Vec<String> = honesty.notes().iter().map(ToString::to_string).collect();
        assert_eq!(notes, ["theirs 1.2.3: it hung (`xtask`)", "ours 1.2.3: it hung (`xtask`)"]);
    }
}
