//! `cargo xtask endings`: every way a request can end, played over real sockets: the exit passed to `release`, how
//! often handles were released, and what the client saw.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, ensure};
use clap::Args;
use reqscope_records::endings::{Cell, Row, Verdict};

use crate::cargo::Cargo;
use crate::tree::Tree;

/// Which ending to play, and how to print the result.
#[derive(Args)]
pub(crate) struct Options {
    /// Plays this ending only.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Plays the endings, prints the table, and fails if a cell is wrong.
pub(crate) fn run(tree: &Tree, options: &Options) -> anyhow::Result<ExitCode> {
    eprintln!("building reqscope-endings");
    Cargo::new(tree, "build --package reqscope-endings").run_quietly()?;
    let mut command = Command::new(tree.metadata().target_directory.join("debug/reqscope-endings"));
    if let Some(name) = &options.only {
        command.args(["--only", name]);
    }
    // Without a limit, because the program limits each cell itself.
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "reqscope-endings failed with {}", output.status);
    let rows: Vec<Row> =
        serde_json::from_slice(&output.stdout).context("reqscope-endings printed something else than JSON")?;
    let wrong = wrong(&rows);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", table(&rows));
    }
    for line in &wrong {
        eprintln!("wrong: {line}");
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns a line for each cell that is wrong. A cell without an event proves nothing.
fn wrong(rows: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    for Row { name, cells, .. } in rows {
        for cell in cells {
            let place = format!("{name}, {} over {}", cell.stack, cell.protocol);
            match &cell.verdict {
                Verdict::Right if cell.events.is_empty() => wrong.push(format!("{place}: no event was observed")),
                Verdict::Right | Verdict::Absent(_) => {}
                Verdict::Wrong(why) => wrong.push(format!("{place}: {why}")),
            }
        }
    }
    wrong
}

/// Returns the table, and below it a sentence for each ending.
fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let columns = rows.first().map(|row| row.cells.iter().map(|cell| format!("{}, {}", cell.stack, cell.protocol)));
    let mut lines =
        vec![std::iter::once("ending".to_owned()).chain(columns.into_iter().flatten()).collect::<Vec<_>>()];
    lines.extend(
        rows.iter().map(|row| std::iter::once(row.name.clone()).chain(row.cells.iter().map(words)).collect()),
    );
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    for (line, number) in lines.iter().zip(0..) {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        text.push_str(&format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")));
        if number == 0 {
            let rules = widths.iter().map(|width| "-".repeat(width + 2));
            text.push_str(&format!("|{}|\n", rules.collect::<Vec<_>>().join("|")));
        }
    }
    text.push('\n');
    for row in rows {
        text.push_str(&format!("- {}: {}\n", row.name, row.sentence));
        let mut whys: Vec<String> = Vec::new();
        for cell in &row.cells {
            let why = match &cell.verdict {
                Verdict::Absent(why) => Some(format!("  -: {why}\n")),
                _ => cell.note.as_ref().map(|why| format!("  {}: {why}\n", words(cell))),
            };
            whys.extend(why.filter(|why| !whys.contains(why)));
        }
        text.push_str(&whys.concat());
    }
    let cells = || rows.iter().flat_map(|row| &row.cells);
    let absent = cells().filter(|cell| matches!(cell.verdict, Verdict::Absent(_))).count();
    text.push_str(&format!("\n{} endings, {} cells played, {absent} absent\n", rows.len(), cells().count() - absent));
    text
}

/// Returns the text of a cell, such as "Completed × 1; 200".
fn words(cell: &Cell) -> String {
    match cell.verdict {
        Verdict::Absent(_) => "-".to_owned(),
        Verdict::Wrong(_) => "WRONG".to_owned(),
        Verdict::Right if cell.exits.is_empty() => format!("none × {}; {}", cell.released, cell.seen),
        Verdict::Right => {
            let mut exits = cell.exits.clone();
            exits.dedup();
            let abandoned =
                if cell.abandoned > 0 { format!(" + {} abandoned", cell.abandoned) } else { String::new() };
            format!("{} × {}{abandoned}; {}", exits.join(", "), cell.released, cell.seen)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(verdict: Verdict, events: &[&str]) -> Row {
        let cell = Cell {
            stack: "hyper".to_owned(),
            protocol: "http1".to_owned(),
            verdict,
            exits: vec!["Completed".to_owned()],
            released: 1,
            abandoned: 0,
            seen: "200".to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            note: None,
            millis: 1,
        };
        Row { name: "a".to_owned(), sentence: "it ends".to_owned(), cells: vec![cell] }
    }

    #[test]
    fn cell_without_an_event_is_wrong() {
        assert!(wrong(&[row(Verdict::Right, &["it happened"])]).is_empty());
        assert_eq!(wrong(&[row(Verdict::Right, &[])]).len(), 1);
        assert_eq!(wrong(&[row(Verdict::Wrong("a leak".to_owned()), &["it happened"])]).len(), 1);
        assert!(wrong(&[row(Verdict::Absent("no streams".to_owned()), &[])]).is_empty());
    }

    #[test]
    fn row_shows_exits_and_what_the_client_saw() {
        let text =
            table(&[row(Verdict::Right, &["it happened"]), row(Verdict::Absent("no streams".to_owned()), &[])]);
        assert!(text.contains("| a      | Completed × 1; 200 |"), "{text}");
        assert!(text.contains("| a      | -                  |") && text.contains("no streams"), "{text}");
    }
}
