//! Renders the findings as Markdown, for the screen and for the documents.

use super::Findings;
use super::figures::{Figure, KEY, Measured};

/// Renders the table, the promises and the conditions.
pub(super) fn render(findings: &Findings) -> String {
    let mut text = String::new();
    if !findings.figures.is_empty() {
        text.push_str("| operation | instructions | allocations | must | holds? | floor |\n");
        text.push_str("|---|---:|---:|---|---|---|\n");
        for figure in &findings.figures {
            text.push_str(&row(figure));
        }
        text.push('\n');
    }
    for (promise, verdict) in findings.promises() {
        text.push_str(&format!("{promise}: {}.\n\n", verdict.in_words()));
    }
    if let Some(throughput) = &findings.throughput {
        text.push_str(&format!("{throughput}.\n\n"));
    }
    let conditions = &findings.conditions;
    text.push_str(&format!(
        "{}; {}; {}; {}.\n",
        conditions.compiler, conditions.profile, conditions.target, conditions.valgrind
    ));
    text
}

/// Renders the rows that README.md shows, in the order of [`KEY`].
pub(super) fn key_figures(figures: &[Figure]) -> String {
    let mut text = String::from("| operation | instructions | allocations |\n|---|---:|---:|\n");
    for figure in KEY.iter().flat_map(|key| figures.iter().find(|figure| figure.operation == *key)) {
        let Figure { over, cost, .. } = figure;
        let sign = if over.is_some() { "+" } else { "" };
        let name = name(figure);
        text.push_str(&format!("| {name} | {sign}{} | {sign}{} |\n", cost.instructions, cost.allocations));
    }
    text
}

/// Returns what is measured, and over what.
fn name(figure: &Figure) -> String {
    let over = figure.over.map(|over| format!(", over {}", over.name)).unwrap_or_default();
    format!("{}{over}", figure.operation)
}

fn row(figure: &Figure) -> String {
    let Figure { over, cost, must, holds, floors, .. } = figure;
    let sign = if over.is_some() { "+" } else { "" };
    let under = over.map(|over| format!("{} {}, {}", over.name, over.cost.instructions, over.cost.allocations));
    let (must, holds) = match must {
        Some(must) => (must.text(sign), if *holds { "yes" } else { "**no**" }),
        None => ("-".to_owned(), "-"),
    };
    let floors = floors
        .iter()
        .map(|Measured { name, cost }| format!("{name} {sign}{}, {sign}{}", cost.instructions, cost.allocations));
    let floors: Vec<String> = under.into_iter().chain(floors).collect();
    format!(
        "| {} | {sign}{} | {sign}{} | {must} | {holds} | {} |\n",
        name(figure),
        cost.instructions,
        cost.allocations,
        floors.join("; "),
    )
}
