//! Reads, compares and writes the table of faults in the README.

use std::fmt::Write;
use std::time::Duration;
use std::{env, fs};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const BEGIN: &str =
    "<!-- faults: begin; written by `REQSCOPE_BLESS=1 cargo test -p reqscope-mysql the_table_of_faults` -->\n";
const END: &str = "<!-- faults: end -->\n";
const HEAD: [&str; 7] = ["fault", "first caller", "after", "later callers", "after", "served again", "after"];
/// The slack for a loaded machine.
const SLACK: Duration = Duration::from_secs(2);

/// One fault, with what callers get.
pub(super) struct Row {
    pub(super) fault: &'static str,
    pub(super) first: Cell,
    pub(super) later: Cell,
    pub(super) again: Cell,
}

/// An outcome, which must match the README, and a time, which may exceed that of the README by [`SLACK`].
pub(super) struct Cell {
    pub(super) what: String,
    pub(super) after: Duration,
}

impl Row {
    fn cells(&self) -> [&Cell; 3] {
        [&self.first, &self.later, &self.again]
    }

    fn line(&self) -> String {
        let mut line = format!("| {} |", self.fault);
        for Cell { what, after } in self.cells() {
            write!(line, " {what} | {} |", rounded(*after)).expect("writing to a String cannot fail");
        }
        line
    }
}

/// Returns whether to write the README instead of comparing it.
pub(super) fn is_blessed() -> bool {
    env::var_os("REQSCOPE_BLESS").is_some_and(|value| value == "1")
}

/// Writes the rows into the README.
pub(super) fn write(rows: &[Row]) {
    let readme = fs::read_to_string(README).expect("the README");
    let (before, rest) = readme.split_once(BEGIN).expect("the marker where the table begins");
    let (_, after) = rest.split_once(END).expect("the marker where the table ends");
    let mut table = format!("| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    for row in rows {
        writeln!(table, "{}", row.line()).expect("writing to a String cannot fail");
    }
    fs::write(README, format!("{before}{BEGIN}\n{table}\n{END}{after}")).expect("the README can be written");
}

/// Returns the differences between the README and the measured rows, a line each.
pub(super) fn differences(rows: &[Row]) -> Vec<String> {
    let readme = fs::read_to_string(README).expect("the README");
    let written = lines(&readme);
    let mut differences = Vec::new();
    if written.len() != rows.len() {
        differences.push(format!("the README has {} faults instead of {}", written.len(), rows.len()));
    }
    for row in rows {
        match written.iter().find(|cells| cells.first() == Some(&row.fault)) {
            None => differences.push(format!("the README has no row `{}`", row.fault)),
            Some(cells) => compare(row, cells, &mut differences),
        }
    }
    differences
}

/// Returns the cells of each line of the table, without the header.
fn lines(readme: &str) -> Vec<Vec<&str>> {
    let (_, rest) = readme.split_once(BEGIN).expect("the marker where the table begins");
    let (table, _) = rest.split_once(END).expect("the marker where the table ends");
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn compare(row: &Row, written: &[&str], differences: &mut Vec<String>) {
    let pairs = written[1..].chunks(2);
    for (seen, pair) in row.cells().into_iter().zip(pairs) {
        let &[what, after] = pair else { panic!("`{}` has half a cell", row.fault) };
        if seen.what != what {
            differences.push(format!("{}: the README says `{what}`, the outcome was `{}`", row.fault, seen.what));
        }
        if seen.after > read(after) + SLACK {
            let Cell { what, after: seen } = seen;
            differences.push(format!("{}: {what} after {seen:?}, the README says {after}", row.fault));
        }
    }
}

/// Rounds to one digit, since more would differ between runs.
fn rounded(time: Duration) -> String {
    let (mut value, unit) = match time.as_secs_f64() {
        seconds if seconds >= 0.95 => (seconds, "s"),
        seconds => (seconds * 1e3, "ms"),
    };
    if value < 0.95 {
        return format!("< 1 {unit}");
    }
    let digit = 10_f64.powf(value.log10().floor());
    value = (value / digit).round() * digit;
    format!("{value:.0} {unit}")
}

/// Parses what [`rounded`] wrote.
fn read(text: &str) -> Duration {
    let text = text.trim_start_matches("< ");
    let (value, unit) = text.split_once(' ').expect("a number and its unit");
    let value: u64 = value.parse().expect("a whole number");
    if unit == "s" { Duration::from_secs(value) } else { Duration::from_millis(value) }
}

#[test]
fn times_are_rounded_to_a_digit_and_parsed_again() {
    let millis = |millis| Duration::from_secs_f64(millis / 1e3);
    for (time, text, again) in [
        (0.02, "< 1 ms", 1),
        (4.4, "4 ms", 4),
        (27.0, "30 ms", 30),
        (949.0, "900 ms", 900),
        (951.0, "1 s", 1000),
        (1_300.0, "1 s", 1000),
        (10_010.0, "10 s", 10_000),
    ] {
        assert_eq!(rounded(millis(time)), text);
        assert_eq!(read(text), Duration::from_millis(again));
    }
}
