//! What has to hold when the storm is over.
use serde::Serialize;

use crate::report::Report;
use crate::server::shutdown::{Closed, Served};
use crate::server::stats::{Database, Pool};

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
    let (cut, core) = (&server.cut, &server.core);
    let tally = &report.tally;
    let (awaited, answered) = tally.awaited();
    let failed: u64 = tally.fates.iter().map(|row| row.failed).sum();
    let unsent: Vec<_> = tally.fates.iter().filter(|row| row.sent == 0).map(|row| row.fate.name()).collect();
    let stages = [
        ("acquiring", cut.acquiring),
        ("holding", cut.holding),
        ("in a transaction", cut.transaction),
        ("body", cut.body),
    ];
    let uncut: Vec<_> = stages.iter().filter(|(_, count)| *count == 0).map(|(stage, _)| *stage).collect();
    let none = |name, count: u64, what: &str| invariant(name, count == 0, format!("{count} {what}"));

    let mut invariants = vec![
        invariant("every fate is sent", unsent.is_empty(), format!("never sent: {}", listed(&unsent))),
        invariant("every stage is cut", uncut.is_empty(), format!("never cut: {}", listed(&uncut))),
        invariant("who waits is answered", answered == awaited, format!("{answered} of {awaited} were")),
        invariant(
            "every answer is a 200",
            tally.refused == 0,
            with_first(format!("{} were not", tally.refused), &tally.first_refusal),
        ),
        invariant(
            "every part is played",
            failed == 0,
            with_first(format!("{failed} were not"), &tally.first_failure),
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
        invariant(
            "reqscope's own accounts balance",
            core.live == 0 && core.acquired == core.released + core.abandoned + core.taken,
            format!(
                "{} acquired, {} released, {} abandoned, {} taken, {} live",
                core.acquired, core.released, core.abandoned, core.taken, core.live
            ),
        ),
        none("no handle is abandoned", server.abandoned, "are"),
        none("no handle is released twice", server.double_released, "were"),
        none("no handle is used after its release", server.used_after_release, "were"),
        none("every exit is told right", server.misled, "handles heard of another end than that of their request"),
        none("no scope is open", server.open_scopes, "are"),
        none("no release is pending", server.pending_releases, "are"),
        none("no transaction is crossed", server.crossed, "were"),
        none("no answer is another question's", server.shifted, "were"),
        none("nobody is refused as busy", server.busy, "were"),
        invariant(
            "every commit is a row",
            server.committed == server.rows,
            format!("{} commits, {} rows", server.committed, server.rows),
        ),
        invariant(
            "no 200 without a commit",
            report.broken_promises == 0,
            format!("of {} answers {} have no row", tally.promised.len(), report.broken_promises),
        ),
        invariant(
            "the server still serves",
            report.probe == server.available(),
            format!("{} of {} handles answer", report.probe, server.available()),
        ),
    ];
    invariants.extend(server.pool.iter().flat_map(pool));
    invariants.extend(server.database.iter().flat_map(|it| database(it, server.pool.map_or(0, |pool| pool.size))));
    invariants
}

/// How long a statement may run on after the last request.
const RUNS_ON_MS: u64 = 500;

fn database(database: &Database, size: u64) -> [Invariant; 5] {
    let Database { cut, kills, looks, running, most, orphaned, ran_on_ms } = *database;
    [
        invariant("statements are cut", cut > 0, "none was: nothing is proved".into()),
        invariant("every cut statement is stopped", kills >= cut, format!("{cut} were cut, {kills} KILLs sent")),
        invariant(
            "no statement is orphaned",
            orphaned == 0,
            format!("{orphaned} connections ran one after they had been given up"),
        ),
        invariant(
            "the server runs no more statements than the pool has connections",
            (1..=size).contains(&most),
            format!("{most} at once in {looks} looks, size {size}"),
        ),
        invariant(
            "no statement outlives the storm",
            running == 0 && ran_on_ms <= RUNS_ON_MS,
            format!("{running} run, the last was seen after {ran_on_ms} ms"),
        ),
    ]
}

fn pool(pool: &Pool) -> [Invariant; 3] {
    let Pool { size, in_use, idle, in_between, waiting, opened, closed, most } = *pool;
    [
        invariant(
            "the pool is at rest",
            pool.is_at_rest(),
            format!("{in_use} in use, {in_between} opening or closing, {waiting} waiting"),
        ),
        invariant("the pool keeps to its size", most <= size, format!("{most} connections at once, size {size}")),
        invariant(
            "every connection is idle or closed",
            opened == closed + idle,
            format!("{opened} opened, {closed} closed, {idle} idle"),
        ),
    ]
}

/// What the server itself says at its end: reqscope's own accounts.
pub(crate) fn shutdown(served: &Served) -> Vec<Invariant> {
    let drained = &served.requests.drained;
    let found = format!(
        "{} scopes open, {} handles live, {} abandoned",
        drained.open_scopes, drained.live, drained.abandoned
    );
    let mut invariants = vec![invariant("the shutdown is clean", served.requests.is_clean(), found)];
    let Some(Closed { pool, left }) = &served.closed else { return invariants };
    let found = format!("{} connections left, {} abandoned", pool.live, pool.abandoned);
    invariants.push(invariant("the pool closes whole", pool.is_clean(), found));
    invariants.extend(left.map(|left| {
        let found = format!("{left} of the pool's are still there");
        invariant("no connection is left on the server", left == 0, found)
    }));
    invariants
}

fn invariant(name: &'static str, holds: bool, found: String) -> Invariant {
    Invariant { name, holds, found }
}

fn with_first(found: String, first: &Option<String>) -> String {
    match first {
        Some(first) => format!("{found}, the first: {first}"),
        None => found,
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::client::outcome::{Answer, Seen};
    use crate::client::plan::{Fate, Part};
    use crate::client::protocol::Protocol::{self, Http1, Http2};
    use crate::client::results::Tally;
    use crate::options::Load;
    use crate::report::Report;
    use crate::server::stats::{Cut, Database, Pool, Stats};

    /// A report of a storm in which all went well, but for what `spoil` does to it.
    fn broken(spoil: impl FnOnce(&mut Tally, &mut Stats, &mut u64)) -> Vec<&'static str> {
        broken_over(Http1, spoil)
    }

    fn broken_over(protocol: Protocol, spoil: impl FnOnce(&mut Tally, &mut Stats, &mut u64)) -> Vec<&'static str> {
        let load = Load { requests: 7, connections: 1, http2: protocol == Http2, seed: None, json: None };
        let mut tally = Tally::new(protocol);
        for (fate, _) in Fate::weights(protocol) {
            let part = part(*fate);
            let answers = if fate.waits() { vec![tagged(7)] } else { Vec::new() };
            tally.record(&part, Ok(Seen { answers, ..Seen::default() }));
        }
        let cut = Cut { acquiring: 1, holding: 1, transaction: 1, body: 1, ..Cut::default() };
        let mut stats = Stats { acquired: 3, released: 3, committed: 1, rows: 1, cut, ..Stats::default() };
        stats.pool = Some(Pool { size: 10, idle: 2, opened: 3, closed: 1, most: 3, ..Pool::default() });
        stats.database = Some(Database { cut: 1, kills: 2, looks: 9, most: 10, ..Database::default() });
        let mut probe = 10;
        spoil(&mut tally, &mut stats, &mut probe);
        let report = Report::new(1, &load, Duration::ZERO, tally, stats, probe, &[7].into());
        report.broken().map(|invariant| invariant.name).collect()
    }

    fn part(fate: Fate) -> Part {
        Part { fate, paths: vec!["/tx"], ..Part::draw(Http1, 1, 1) }
    }

    fn tagged(tag: u32) -> Answer {
        Answer { path: "/tx", status: 200, body: tag.to_string().into() }
    }

    #[test]
    fn a_storm_that_went_well_breaks_nothing() {
        assert_eq!(broken(|_, _, _| ()), [""; 0]);
        assert_eq!(broken_over(Http2, |_, _, _| ()), [""; 0]);
    }

    #[test]
    fn each_counter_of_the_server_breaks_its_own_invariant() {
        assert_eq!(broken(|_, server, _| server.released = 2), ["the accounts balance"]);
        assert_eq!(broken(|_, server, _| server.core.taken = 1), ["reqscope's own accounts balance"]);
        assert_eq!(broken(|_, server, _| server.core.live = 1), ["reqscope's own accounts balance"]);
        assert_eq!(broken(|_, server, _| (server.released, server.live) = (2, 1)), ["no handle is live"]);
        assert_eq!(broken(|_, server, _| (server.released, server.abandoned) = (2, 1)), ["no handle is abandoned"]);
        assert_eq!(broken(|_, server, _| server.double_released = 1), ["no handle is released twice"]);
        assert_eq!(broken(|_, server, _| server.used_after_release = 1), ["no handle is used after its release"]);
        assert_eq!(broken(|_, server, _| server.open_scopes = 1), ["no scope is open"]);
        assert_eq!(broken(|_, server, _| server.pending_releases = 1), ["no release is pending"]);
        assert_eq!(broken(|_, server, _| server.crossed = 1), ["no transaction is crossed"]);
        assert_eq!(broken(|_, server, _| server.shifted = 1), ["no answer is another question's"]);
        assert_eq!(broken(|_, server, _| server.busy = 1), ["nobody is refused as busy"]);
        assert_eq!(broken(|_, server, _| server.rows = 2), ["every commit is a row"]);
        assert_eq!(broken(|_, server, _| server.misled = 1), ["every exit is told right"]);
        assert_eq!(broken(|_, _, probe| *probe = 9), ["the server still serves"]);
    }

    #[test]
    fn a_pool_that_lost_a_slot_or_a_connection_breaks_the_storm() {
        let spoiled = |spoil: fn(&mut Pool)| broken(|_, server, _| server.pool.iter_mut().for_each(spoil));
        assert_eq!(spoiled(|pool| pool.in_use = 1), ["the pool is at rest"]);
        assert_eq!(spoiled(|pool| pool.in_between = 1), ["the pool is at rest"]);
        assert_eq!(spoiled(|pool| pool.waiting = 1), ["the pool is at rest"]);
        assert_eq!(spoiled(|pool| pool.most = 11), ["the pool keeps to its size"]);
        assert_eq!(spoiled(|pool| pool.closed = 0), ["every connection is idle or closed"]);
        // Of a smaller one fewer handles can be had at once.
        assert_eq!(
            spoiled(|pool| pool.size = 4),
            ["the server still serves", "the server runs no more statements than the pool has connections"]
        );
    }

    #[test]
    fn a_statement_that_runs_for_nobody_breaks_the_storm() {
        let spoiled = |spoil: fn(&mut Database)| broken(|_, server, _| server.database.iter_mut().for_each(spoil));
        let more = "the server runs no more statements than the pool has connections";
        assert_eq!(spoiled(|database| database.cut = 0), ["statements are cut"]);
        assert_eq!(spoiled(|database| database.kills = 0), ["every cut statement is stopped"]);
        assert_eq!(spoiled(|database| database.orphaned = 1), ["no statement is orphaned"]);
        assert_eq!(spoiled(|database| database.most = 11), [more]);
        // Who never sees anything does not look.
        assert_eq!(spoiled(|database| database.most = 0), [more]);
        assert_eq!(spoiled(|database| database.running = 1), ["no statement outlives the storm"]);
        assert_eq!(spoiled(|database| database.ran_on_ms = 501), ["no statement outlives the storm"]);
    }

    #[test]
    fn a_stage_that_was_never_cut_breaks_the_storm() {
        assert_eq!(broken(|_, server, _| server.cut.acquiring = 0), ["every stage is cut"]);
        assert_eq!(broken(|_, server, _| server.cut.holding = 0), ["every stage is cut"]);
        assert_eq!(broken(|_, server, _| server.cut.transaction = 0), ["every stage is cut"]);
        assert_eq!(broken(|_, server, _| server.cut.body = 0), ["every stage is cut"]);
    }

    #[test]
    fn what_a_client_missed_breaks_the_storm() {
        let failure = || Err(std::io::ErrorKind::TimedOut.into());
        let refusal = || Ok(Seen::part(Answer { path: "/use", status: 500, body: Vec::new() }));
        // It has its row, and then one that has none.
        let promise = |tag| Ok(Seen::part(tagged(tag)));
        assert_eq!(broken(|tally, _, _| tally.fates[3].sent = 0), ["every fate is sent"]);
        assert_eq!(
            broken(|tally, _, _| tally.record(&part(Fate::Complete), failure())),
            ["who waits is answered", "every part is played"]
        );
        assert_eq!(broken(|tally, _, _| tally.record(&part(Fate::Fin), failure())), ["every part is played"]);
        assert_eq!(broken(|tally, _, _| tally.record(&part(Fate::Complete), refusal())), ["every answer is a 200"]);
        assert_eq!(broken(|tally, _, _| tally.record(&part(Fate::Fin), promise(7))), [""; 0]);
        assert_eq!(broken(|tally, _, _| tally.record(&part(Fate::Fin), promise(8))), ["no 200 without a commit"]);
        assert_eq!(
            broken_over(Http2, |tally, _, _| tally.record(&part(Fate::GoAway), failure())),
            ["who waits is answered", "every part is played"]
        );
    }
}
