//! Renders the findings as Markdown, for the screen and for the crate's README.md.

use super::Findings;
use super::ratio::Ratio;

/// Renders the table, the promises and the conditions.
pub(super) fn render(findings: &Findings) -> String {
    let mut text = String::from(
        "| operation | of mysql_async's time | must | holds? | mysql_async's, over itself | mysql_async's |\n\
         |---|---:|---|---|---:|---:|\n",
    );
    text.extend(findings.ratios().map(row));
    text.push('\n');
    for (promise, verdict) in findings.promises() {
        text.push_str(&format!("{promise}: {}.\n\n", verdict.in_words()));
    }
    let conditions = &findings.conditions;
    text.push_str(&format!(
        "{}; {}; {}; {}; MariaDB {}.\n",
        conditions.compiler, conditions.profile, conditions.target, conditions.valgrind, findings.checkout.server,
    ));
    text
}

fn row(ratio: &Ratio) -> String {
    let Ratio { operation, ours, noise, driver, must, holds, .. } = ratio;
    let (must, holds) = match must {
        Some(must) => (must.to_string(), if *holds { "yes" } else { "**no**" }),
        None => ("-".to_owned(), "-"),
    };
    format!("| {operation} | {ours:.3} | {must} | {holds} | {noise:.3} | {:.1} us |\n", driver.over(1e3))
}
