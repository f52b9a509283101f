//! The table of faults in the README: read, compared, written.

use std::fmt::Write;
use std::time::Duration;
use std::{env, fs};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const BEGIN: &str =
    "<!-- faults: begin; written by `REQSCOPE_BLESS=1 cargo test -p reqscope-mysql the_table_of_faults` -->\n";
const END: &str = "<!-- faults: end -->\n";
const HEAD: [&str; 7] =
    ["the fault", "who meets it", "after", "who comes meanwhile", "after", "served again", "after"];
/// What no table can know: how busy the machine is that this runs on.
const SLACK: Duration = Duration::from_secs(2);

/// One fault.
pub(super) struct Row {
    pub(super) fault: &'static str,
    pub(super) meets: Cell,
    pub(super) meanwhile: Cell,
    pub(super) again: Cell,
}

/// What was seen, which a table can promise, and after how long, of which it can promise the order.
pub(super) struct Cell {
    pub(super) what: String,
    pub(super) after: Duration,
}

impl Row {
    fn cells(&self) -> [&Cell; 3] {
        [&self.meets, &self.meanwhile, &self.again]
    }

    fn line(&self) -> String {
        let mut line = format!("| {} |", self.fault);
        for Cell { what, after } in self.cells() {
            write!(line, " {what} | {} |", rounded(*after)).expect("a string takes everything");
        }
        line
    }
}

/// Is the README to be written, and not compared?
pub(super) fn is_blessed() -> bool {
    env::var_os("REQSCOPE_BLESS").is_some_and(|value| value == "1")
}

/// Puts the rows into the README.
pub(super) fn write(rows: &[Row]) {
    let readme = fs::read_to_string(README).expect("the README");
    let (before, rest) = readme.split_once(BEGIN).expect("the mark where the table begins");
    let (_, after) = rest.split_once(END).expect("the mark where the table ends");
    let mut table = format!("| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    for row in rows {
        writeln!(table, "{}", row.line()).expect("a string takes everything");
    }
    fs::write(README, format!("{before}{BEGIN}\n{table}\n{END}{after}")).expect("the README can be written");
}

/// Every difference between the README and what was seen, a line each.
pub(super) fn differences(rows: &[Row]) -> Vec<String> {
    let readme = fs::read_to_string(README).expect("the README");
    let told = lines(&readme);
    let mut differences = Vec::new();
    if told.len() != rows.len() {
        differences.push(format!("the README has {} faults and not {}", told.len(), rows.len()));
    }
    for row in rows {
        match told.iter().find(|cells| cells.first() == Some(&row.fault)) {
            None => differences.push(format!("the README does not know `{}`", row.fault)),
            Some(cells) => compare(row, cells, &mut differences),
        }
    }
    differences
}

/// The cells of each line of the table, without its head.
fn lines(readme: &str) -> Vec<Vec<&str>> {
    let (_, rest) = readme.split_once(BEGIN).expect("the mark where the table begins");
    let (table, _) = rest.split_once(END).expect("the mark where the table ends");
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn compare(row: &Row, told: &[&str], differences: &mut Vec<String>) {
    let pairs = told[1..].chunks(2);
    for (seen, pair) in row.cells().into_iter().zip(pairs) {
        let &[what, after] = pair else { panic!("`{}` has half a cell", row.fault) };
        if seen.what != what {
            differences.push(format!("{}: the README says `{what}`, seen was `{}`", row.fault, seen.what));
        }
        if seen.after > read(after) + SLACK {
            let Cell { what, after: seen } = seen;
            differences.push(format!("{}: {what} after {seen:?}, and the README says {after}", row.fault));
        }
    }
}

/// One digit, as more would not be the same tomorrow.
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

/// What [`rounded`] wrote.
fn read(text: &str) -> Duration {
    let text = text.trim_start_matches("< ");
    let (value, unit) = text.split_once(' ').expect("a number and its unit");
    let value: u64 = value.parse().expect("a whole number");
    if unit == "s" { Duration::from_secs(value) } else { Duration::from_millis(value) }
}

#[test]
fn times_are_rounded_to_a_digit_and_read_again() {
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
