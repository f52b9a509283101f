//! Renders the findings as Markdown, for the screen and for docs/COMPARISON.md.

use std::iter;

use reqscope_records::compare::Verdict;

use super::Findings;
use super::cells::{Lazy, OPERATIONS};
use super::honesty::Honesty;
use super::work::{Work, Worked};
use crate::spread::Spread;

const MILLION: f64 = 1e6;
const MICROSECOND: f64 = 1e3;
const MILLISECOND: f64 = 1e6;

/// The alignment of columns.
const FIGURES: &str = "---:";
const WORDS: &str = "---";

/// The cell of a contender that took no part.
const ABSENT: &str = "-";

/// Renders all tables, the bounds and the conditions.
pub(super) fn render(findings: &Findings) -> String {
    let mut text = String::new();
    if let Some(work) = &findings.work {
        text.push_str(&of_work(work));
    }
    for must in &findings.musts {
        text.push_str(&format!("- {must}: {}\n", must.verdict.in_words()));
    }
    if !findings.musts.is_empty() {
        text.push('\n');
    }
    if let Some(lazy) = &findings.lazy {
        text.push_str(&of_lazy(lazy));
    }
    for honesty in &findings.honesty {
        text.push_str(&of_honesty(honesty));
    }
    let conditions = &findings.conditions;
    text.push_str(&format!(
        "{}; {}; {}; {}; {} cores; in {:.0} s.\n",
        conditions.compiler,
        conditions.profile,
        conditions.target,
        conditions.valgrind,
        findings.cores,
        findings.seconds,
    ));
    text
}

/// Renders a table with a row for each item. `align` is for all columns but the first.
fn table<T>(head: &[&str], align: &str, rows: impl IntoIterator<Item = T>, row: impl Fn(T) -> Vec<String>) -> String {
    let mut text = format!("| {} |\n|---{}|\n", head.join(" | "), format!("|{align}").repeat(head.len() - 1));
    for of in rows {
        text.push_str(&format!("| {} |\n", row(of).join(" | ")));
    }
    text.push('\n');
    text
}

fn of_work(work: &Work) -> String {
    let noise = &work.noise;
    let mut text = String::from(
        "Get and return by one task, the same at four places of the program in turn, and with a validation at each \
         get:\n\n",
    );
    text.push_str(&alone(&work.each));
    text.push_str("64 tasks on 8 handles on 2 workers:\n\n");
    text.push_str(&contended(&work.each));
    text.push_str(
        "1000 waiters on 8 handles of which every second one leaves, and 1000 gets at once on an empty pool of 100:\n\n",
    );
    text.push_str(&crowds(&work.each));
    text.push_str(&format!(
        "Medians of interleaved rounds, least and most in brackets; ratios are of the same round. Noise: two \
         turns of reqscope in the same round differ by {:.2} in the time of get and return, by {:.2} in throughput, and \
         by {:.2} in the p99 of the waits.\n\n",
        noise.nanos, noise.per_second, noise.p99,
    ));
    text
}

fn alone(each: &[Worked]) -> String {
    let head = [
        "",
        "instructions",
        "allocations",
        "ns",
        "times our time",
        "four places: instructions",
        "validated: instructions",
        "allocations",
        "ns",
        "bytes per handle",
    ];
    table(&head, FIGURES, each, |worked| {
        let (alone, validated) = (&worked.alone, &worked.validated);
        vec![
            plain(&worked.contender.title),
            alone.cost.instructions.to_string(),
            alone.cost.allocations.to_string(),
            format!("{:.0}", alone.nanos),
            format!("{:.2}", alone.ratio),
            worked.places.instructions.to_string(),
            validated.cost.instructions.to_string(),
            validated.cost.allocations.to_string(),
            format!("{:.0}", validated.nanos),
            worked.bytes.map_or_else(absent, |bytes| bytes.to_string()),
        ]
    })
}

fn contended(each: &[Worked]) -> String {
    let head = [
        "",
        "million operations/s",
        "ours, times this",
        "task served least / most",
        "wait p50, µs",
        "p99, µs",
        "longest, ms",
        "our p99, times this",
    ];
    let figures = each.iter().filter_map(|worked| Some((worked, worked.contended.as_ref()?)));
    table(&head, FIGURES, figures, |(worked, contended)| {
        let in_unit = |spread: Spread, unit: f64| format!("{:.1}", spread.over(unit));
        vec![
            plain(&worked.contender.title),
            format!("{:.2}", contended.per_second.over(MILLION)),
            format!("{:.2}", contended.ours_per_second),
            format!("{:.2}", contended.evenness),
            in_unit(contended.median, MICROSECOND),
            in_unit(contended.p99, MICROSECOND),
            in_unit(contended.longest, MILLISECOND),
            format!("{:.2}", contended.ours_p99),
        ]
    })
}

fn crowds(each: &[Worked]) -> String {
    let head = [
        "",
        "half leave: hung",
        "refused",
        "handles back of 8",
        "ms",
        "storm: created",
        "served",
        "ms",
        "wait p99, ms",
    ];
    let figures = each.iter().filter_map(|worked| Some((worked, worked.cancelled.as_ref()?, worked.storm.as_ref()?)));
    table(&head, FIGURES, figures, |(worked, cancelled, storm)| {
        vec![
            plain(&worked.contender.title),
            cancelled.hung.to_string(),
            cancelled.refused.to_string(),
            cancelled.back.to_string(),
            format!("{:.1}", cancelled.nanos.over(MILLISECOND)),
            format!("{:.0}", storm.created),
            format!("{:.0}", storm.served.least),
            format!("{:.0}", storm.nanos.over(MILLISECOND)),
            format!("{:.0}", storm.p99.over(MILLISECOND)),
        ]
    })
}

fn of_lazy(lazy: &[Lazy]) -> String {
    let mut text = String::from("Lazy cells, each figure as instructions, allocations, ns:\n\n");
    let head: Vec<&str> = iter::once("").chain(OPERATIONS.iter().map(|(_, title)| *title)).collect();
    text.push_str(&table(&head, FIGURES, lazy, |lazy| {
        let taken = lazy.taken.iter().map(|taken| {
            let nanos = taken.nanos.map_or_else(absent, |nanos| format!("{nanos:.0}"));
            format!("{}, {}, {nanos}", taken.cost.instructions, taken.cost.allocations)
        });
        iter::once(plain(&lazy.contender.title)).chain(taken).collect()
    }));
    text
}

fn of_honesty(honesty: &Honesty) -> String {
    let titles: Vec<String> = honesty.contenders.iter().map(|contender| plain(&contender.title)).collect();
    let head: Vec<&str> = iter::once("").chain(titles.iter().map(String::as_str)).collect();
    let notes = honesty.notes();
    let mut number = 0..;
    let rows: Vec<Vec<String>> = honesty
        .rows
        .iter()
        .map(|row| {
            let cells = row.cells.iter().map(|cell| match cell.verdict {
                Verdict::Pass => "pass".to_owned(),
                // The notes are in the order of the cells.
                Verdict::Fail(_) => format!("**FAIL** ({})", number.next().map_or(0, |n: usize| n + 1)),
                Verdict::NotOffered => "not offered".to_owned(),
            });
            iter::once(row.title.clone()).chain(cells).collect()
        })
        .collect();
    let mut text = table(&head, WORDS, rows, |row| row);
    if notes.is_empty() {
        return text;
    }
    text.push_str("<details><summary>What failed, and the command that shows it</summary>\n\n");
    for (note, number) in notes.iter().zip(1..) {
        text.push_str(&format!("{number}. {}\n", plain(&note.to_string())));
    }
    text.push_str("\n</details>\n\n");
    text
}

/// Escapes what Markdown would read as a tag.
fn plain(text: &str) -> String {
    text.replace('<', "\\<")
}

fn absent() -> String {
    ABSENT.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::musts::tests::work;

    #[test]
    fn rows_are_as_wide_as_the_head_of_their_table() {
        let text = of_work(&work());
        let mut width = None;
        for line in text.lines() {
            let columns = line.split('|').count();
            if line.starts_with('|') {
                assert_eq!(*width.get_or_insert(columns), columns, "{line}");
            } else {
                width = None;
            }
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("| deadpool |")).count(), 3, "{text}");
    }
}
