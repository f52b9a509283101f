//! What has to hold when the storm is over.
use reqscope_hyper::ServeReport;
use serde::Serialize;

use crate::fate::Fate;
use crate::report::Report;

/// One invariant, by name, and how it was found.
#[derive(Serialize)]
pub(crate) struct Invariant {
    pub(crate) name: &'static str,
    pub(crate) holds: bool,
    pub(crate) found: String,
}

/// Checks them all; one that is broken hides none of the others.
pub(crate) fn check(report: &Report) -> Vec<Invariant> {
    let server = &report.server;
    let cut = &server.cut;
    let tally = &report.tally;
    let complete = tally.row(Fate::Complete);
    let failed: u64 = tally.fates.iter().map(|row| row.failed).sum();
    let unsent: Vec<_> = tally.fates.iter().filter(|row| row.sent == 0).map(|row| row.fate.name()).collect();
    let stages = [("acquiring", cut.acquiring), ("holding", cut.holding), ("body", cut.body)];
    let uncut: Vec<_> = stages.iter().filter(|(_, count)| *count == 0).map(|(stage, _)| *stage).collect();
    let none = |name, count: u64, what: &str| invariant(name, count == 0, format!("{count} {what}"));

    vec![
        invariant("every fate is sent", unsent.is_empty(), format!("never sent: {}", listed(&unsent))),
        invariant("every stage is cut", uncut.is_empty(), format!("never cut: {}", listed(&uncut))),
        invariant(
            "who waits is answered",
            complete.answered == complete.sent,
            format!("{} of {} were", complete.answered, complete.sent),
        ),
        none("every answer is a 200", tally.refused, "were not"),
        invariant(
            "every part is played",
            failed == 0,
            match &tally.first_failure {
                Some(failure) => format!("{failed} failed, the first: {failure}"),
                None => "none failed".into(),
            },
        ),
        none("no handle is live", server.live, "are"),
        invariant(
            "the accounts balance",
            server.acquired == server.released + server.abandoned + server.live,
            format!(
                "{} acquired, {} released, {} abandoned, {} live",
                server.acquired, server.released, server.abandoned, server.live
            ),
        ),
        none("no handle is abandoned", server.abandoned, "are"),
        none("no handle is released twice", server.double_released, "were"),
        none("no handle is used after its release", server.used_after_release, "were"),
        none("no scope is open", server.open_scopes, "are"),
        none("no release is pending", server.pending_releases, "are"),
        none("no transaction is crossed", server.crossed, "were"),
        none("nobody is refused as busy", server.busy, "were"),
        invariant(
            "every commit is a row",
            server.committed == server.rows,
            format!("{} commits, {} rows", server.committed, server.rows),
        ),
        invariant(
            "no 200 without a commit",
            tally.promised <= server.committed,
            format!("{} answers, {} commits", tally.promised, server.committed),
        ),
        invariant("the server still serves", report.probe == 10, format!("{} of 10 handles answer", report.probe)),
    ]
}

/// What the server itself says at its end: reqscope's own accounts.
pub(crate) fn shutdown(served: &ServeReport) -> Invariant {
    let drained = &served.drained;
    let found = format!(
        "{} scopes open, {} handles live, {} abandoned",
        drained.open_scopes, drained.live, drained.abandoned
    );
    invariant("the shutdown is clean", served.is_clean(), found)
}

fn invariant(name: &'static str, holds: bool, found: String) -> Invariant {
    Invariant { name, holds, found }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
