//! The honesty table: each fault on each contender, in a process of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::contender::Contender;
use super::program::Program;

/// The faults of one kind of contenders, caused and judged.
#[derive(Serialize)]
pub(super) struct Honesty {
    pub(super) contenders: Vec<Contender>,
    pub(super) rows: Vec<Row>,
}

/// One fault and what each contender made of it, in the order of the contenders.
#[derive(Serialize)]
pub(super) struct Row {
    name: String,
    pub(super) title: String,
    pub(super) cells: Vec<Cell>,
}

/// What a script has found.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "verdict", content = "saw", rename_all = "lowercase")]
pub(super) enum Verdict {
    Pass,
    Fail(String),
    #[serde(rename = "not offered")]
    NotOffered,
}

#[derive(Serialize)]
pub(super) struct Cell {
    #[serde(flatten)]
    pub(super) verdict: Verdict,
    /// Causes the same fault on the same contender alone.
    command: String,
}

/// Which subcommands of reqscope-compare it is made of.
pub(super) struct Kind {
    pub(super) list: &'static str,
    pub(super) rows: &'static str,
    pub(super) fault: &'static str,
}

/// Of pools.
pub(super) const POOLS: Kind = Kind { list: "list", rows: "rows", fault: "fault" };

/// Of lazy cells.
pub(super) const CELLS: Kind = Kind { list: "cell-list", rows: "cell-rows", fault: "cell-fault" };

#[derive(Deserialize)]
struct Listed {
    name: String,
    title: String,
}

impl Kind {
    pub(super) fn contenders(&self, program: &Program) -> anyhow::Result<Vec<Contender>> {
        program.ask(&[self.list])
    }

    /// Causes those faults that please, on those contenders that please.
    pub(super) fn judge(
        &self,
        program: &Program,
        faults: impl Fn(&str) -> bool,
        contenders: Vec<Contender>,
    ) -> anyhow::Result<Honesty> {
        let listed: Vec<Listed> = program.ask(&[self.rows])?;
        let mut rows = Vec::new();
        for Listed { name, title } in listed.into_iter().filter(|row| faults(&row.name)) {
            eprintln!("causing {name}");
            let cells = contenders.iter().map(|contender| self.cell(program, &name, contender)).collect();
            rows.push(Row { name, title, cells });
        }
        Ok(Honesty { contenders, rows })
    }

    fn cell(&self, program: &Program, fault: &str, contender: &Contender) -> Cell {
        let verdict = program.ask(&[self.fault, fault, &contender.name]);
        Cell {
            // Whoever takes the process down with him has not passed.
            verdict: verdict.unwrap_or_else(|error| Verdict::Fail(format!("{error:#}"))),
            command: format!("cargo xtask compare --{} {fault} --on {}", self.fault, contender.name),
        }
    }
}

impl Honesty {
    /// What failed, a note each, in the order of the rows. The command tells which cell it is.
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

/// Why a cell fails.
pub(super) struct Note<'a> {
    pub(super) row: &'a Row,
    pub(super) contender: &'a Contender,
    saw: &'a str,
    command: &'a str,
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Note { contender, saw, command, .. } = self;
        let who = contender.release().unwrap_or_else(|| contender.title.clone());
        write!(f, "{who}: {saw} (`{command}`)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(said: &str) -> Cell {
        Cell { verdict: serde_json::from_str(said).unwrap(), command: "xtask".to_owned() }
    }

    #[test]
    fn a_cell_is_what_its_script_says() {
        let verdict = cell(r#"{"row": "hang", "contender": "pool", "verdict": "not offered"}"#).verdict;
        assert!(matches!(verdict, Verdict::NotOffered));
        assert!(matches!(cell(r#"{"verdict": "pass"}"#).verdict, Verdict::Pass));
        assert!(serde_json::from_str::<Verdict>(r#"{"verdict": "perhaps"}"#).is_err());
    }

    #[test]
    fn each_failing_cell_has_a_note_with_the_release_and_the_command() {
        let contenders = ["ours", "theirs"].map(Contender::named).into();
        let fail = r#"{"verdict": "fail", "saw": "it hung"}"#;
        let row = |cells: [&str; 2]| Row {
            name: "hang".to_owned(),
            title: "a fault".to_owned(),
            cells: cells.map(cell).into(),
        };
        let pass = r#"{"verdict": "pass"}"#;
        let honesty = Honesty { contenders, rows: vec![row([pass, fail]), row([pass, pass]), row([fail, pass])] };
        let notes: Vec<String> = honesty.notes().iter().map(ToString::to_string).collect();
        assert_eq!(notes, ["theirs 1.2.3: it hung (`xtask`)", "ours 1.2.3: it hung (`xtask`)"]);
    }
}
