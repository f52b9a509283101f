//! What must hold after a storm.
use serde::Serialize;

use crate::findings::Findings;
use crate::server::shutdown::{PoolShutdown, Shutdown};
use crate::server::stats::{Database, Pool};

/// An invariant, by name, and whether it holds.
#[derive(Serialize)]
pub(crate) struct Invariant {
    pub(crate) name: &'static str,
    pub(crate) holds: bool,
    /// The figures that were compared.
    pub(crate) found: String,
}

/// Checks all invariants. A broken one hides none of the others.
pub(crate) fn check(findings: &Findings) -> Vec<Invariant> {
    let Findings { results, server, probe, broken_promises } = findings;
    let (cut, core) = (&server.cut, &server.core);
    let (awaited, answered) = results.awaited();
    let failed: u64 = results.scenarios.iter().map(|row| row.failed).sum();
    let unsent: Vec<_> =
        results.scenarios.iter().filter(|row| row.sent == 0).map(|row| row.scenario.name()).collect();
    let stages = [
        ("acquiring", cut.acquiring),
        ("holding", cut.holding),
        ("in a transaction", cut.transaction),
        ("body", cut.body),
    ];
    let uncut: Vec<_> = stages.iter().filter(|(_, count)| *count == 0).map(|(stage, _)| *stage).collect();
    let none = |name, count: u64, what: &str| invariant(name, count == 0, format!("{count} {what}"));

    let mut invariants = vec![
        invariant("every scenario is played", unsent.is_empty(), format!("never played: {}", listed(&unsent))),
        invariant("every stage is cut", uncut.is_empty(), format!("never cut: {}", listed(&uncut))),
        invariant("every waiting client is answered", answered == awaited, format!("{answered} of {awaited} were")),
        invariant(
            "every answer is a 200",
            results.refused == 0,
            with_first(format!("{} were not", results.refused), &results.first_refusal),
        ),
        invariant(
            "every plan is carried out",
            failed == 0,
            with_first(format!("{failed} were not"), &results.first_failure),
        ),
        none("no handle is live", server.live, "are"),
        invariant(
            "the counters balance",
            server.acquired == server.released + server.abandoned + server.live,
            format!(
                "{} acquired, {} released, {} abandoned, {} live",
                server.acquired, server.released, server.abandoned, server.live
            ),
        ),
        invariant(
            "reqscope's own counters balance",
            core.live == 0 && core.acquired == core.released + core.abandoned + core.taken,
            format!(
                "{} acquired, {} released, {} abandoned, {} taken, {} live",
                core.acquired, core.released, core.abandoned, core.taken, core.live
            ),
        ),
        none("no handle is abandoned", server.abandoned, "are"),
        none("no handle is released twice", server.double_released, "were"),
        none("no handle is used after its release", server.used_after_release, "were"),
        none("every release gets the right exit", server.wrong_exits, "got another one than that of their request"),
        none("no scope is open", server.open_scopes, "are"),
        none("no release is pending", server.pending_releases, "are"),
        none("no transaction is crossed", server.crossed, "were"),
        none("every answer belongs to its query", server.wrong_answers, "were"),
        none("no request is refused as busy", server.busy, "were"),
        invariant(
            "every commit is a row",
            server.committed == server.rows,
            format!("{} commits, {} rows", server.committed, server.rows),
        ),
        invariant(
            "no 200 without a commit",
            *broken_promises == 0,
            format!("of {} answers {broken_promises} have no row", results.promised.len()),
        ),
        invariant(
            "the server still serves",
            *probe == server.available(),
            format!("{probe} of {} handles answer", server.available()),
        ),
    ];
    invariants.extend(server.pool.iter().flat_map(pool));
    invariants.extend(server.database.iter().flat_map(|it| database(it, server.pool.map_or(0, |pool| pool.size))));
    invariants
}

/// How long a statement may still run after the last request.
const LAST_RUNNING_LIMIT_MS: u64 = 500;

fn database(database: &Database, size: u64) -> [Invariant; 5] {
    let Database { cut, kills, polls, running, peak, orphaned, last_running_ms } = *database;
    [
        invariant("statements are cut", cut > 0, "none was, so nothing is proved".into()),
        invariant("every cut statement is stopped", kills >= cut, format!("{cut} were cut, {kills} KILLs sent")),
        invariant(
            "no statement is orphaned",
            orphaned == 0,
            format!("{orphaned} connections ran one after they had been retired"),
        ),
        invariant(
            "the server runs no more statements than the pool has connections",
            (1..=size).contains(&peak),
            format!("{peak} at once in {polls} polls, size {size}"),
        ),
        invariant(
            "no statement outlives the storm",
            running == 0 && last_running_ms <= LAST_RUNNING_LIMIT_MS,
            format!("{running} run, the last was seen after {last_running_ms} ms"),
        ),
    ]
}

fn pool(pool: &Pool) -> [Invariant; 3] {
    let Pool { size, in_use, idle, opening_or_closing, waiting, opened, closed, peak } = *pool;
    [
        invariant(
            "the pool is at rest",
            pool.is_at_rest(),
            format!("{in_use} in use, {opening_or_closing} opening or closing, {waiting} waiting"),
        ),
        invariant("the pool keeps to its size", peak <= size, format!("{peak} connections at once, size {size}")),
        invariant(
            "every connection is idle or closed",
            opened == closed + idle,
            format!("{opened} opened, {closed} closed, {idle} idle"),
        ),
    ]
}

/// Checks what the server itself reports when it shuts down.
pub(crate) fn shutdown(shutdown: &Shutdown) -> Vec<Invariant> {
    let drained = &shutdown.requests.drained;
    let found = format!(
        "{} scopes open, {} handles live, {} abandoned",
        drained.open_scopes, drained.live, drained.abandoned
    );
    let mut invariants = vec![invariant("the shutdown is clean", shutdown.requests.is_clean(), found)];
    let Some(PoolShutdown { pool, left }) = &shutdown.closed else { return invariants };
    let found = format!("{} connections left, {} abandoned", pool.live, pool.abandoned);
    invariants.push(invariant("the pool closes cleanly", pool.is_clean(), found));
    invariants.extend(left.map(|left| {
        let found = format!("{left} of the pool's connections are still listed");
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
    use crate::client::outcome::{Answer, Outcome};
    use crate::client::plan::{Plan, Scenario};
    use crate::client::protocol::Protocol::{self, Http1, Http2};
    use crate::client::results::Results;
    use crate::findings::Findings;
    use crate::server::stats::{Cut, Database, Pool, Stats};

    /// Returns the broken invariants of a storm in which all went well, except for what `spoil` does to its findings.
    fn broken(spoil: impl FnOnce(&mut Results, &mut Stats, &mut u64)) -> Vec<&'static str> {
        broken_over(Http1, spoil)
    }

    fn broken_over(protocol: Protocol, spoil: impl FnOnce(&mut Results, &mut Stats, &mut u64)) -> Vec<&'static str> {
        let mut results = Results::new(protocol);
        for (scenario, _) in Scenario::weights(protocol) {
            let plan = plan(*scenario);
            let answers = if scenario.waits() { vec![tagged(7)] } else { Vec::new() };
            results.record(&plan, Ok(Outcome { answers, ..Outcome::default() }));
        }
        let cut = Cut { acquiring: 1, holding: 1, transaction: 1, body: 1, ..Cut::default() };
        let mut stats = Stats { acquired: 3, released: 3, committed: 1, rows: 1, cut, ..Stats::default() };
        stats.pool = Some(Pool { size: 10, idle: 2, opened: 3, closed: 1, peak: 3, ..Pool::default() });
        stats.database = Some(Database { cut: 1, kills: 2, polls: 9, peak: 10, ..Database::default() });
        let mut probe = 10;
        spoil(&mut results, &mut stats, &mut probe);
        let invariants = super::check(&Findings::new(results, stats, probe, &[7].into()));
        invariants.into_iter().filter(|invariant| !invariant.holds).map(|invariant| invariant.name).collect()
    }

    fn plan(scenario: Scenario) -> Plan {
        Plan { scenario, paths: vec!["/tx"], ..Plan::draw(Http1, 1, 1) }
    }

    fn tagged(tag: u32) -> Answer {
        Answer { path: "/tx", status: 200, body: tag.to_string().into() }
    }

    #[test]
    fn storm_that_went_well_breaks_nothing() {
        assert_eq!(broken(|_, _, _| ()), [""; 0]);
        assert_eq!(broken_over(Http2, |_, _, _| ()), [""; 0]);
    }

    #[test]
    fn each_counter_of_the_server_breaks_its_invariant() {
        assert_eq!(broken(|_, server, _| server.released = 2), ["the counters balance"]);
        assert_eq!(broken(|_, server, _| server.core.taken = 1), ["reqscope's own counters balance"]);
        assert_eq!(broken(|_, server, _| server.core.live = 1), ["reqscope's own counters balance"]);
        assert_eq!(broken(|_, server, _| (server.released, server.live) = (2, 1)), ["no handle is live"]);
        assert_eq!(broken(|_, server, _| (server.released, server.abandoned) = (2, 1)), ["no handle is abandoned"]);
        assert_eq!(broken(|_, server, _| server.double_released = 1), ["no handle is released twice"]);
        assert_eq!(broken(|_, server, _| server.used_after_release = 1), ["no handle is used after its release"]);
        assert_eq!(broken(|_, server, _| server.open_scopes = 1), ["no scope is open"]);
        assert_eq!(broken(|_, server, _| server.pending_releases = 1), ["no release is pending"]);
        assert_eq!(broken(|_, server, _| server.crossed = 1), ["no transaction is crossed"]);
        assert_eq!(broken(|_, server, _| server.wrong_answers = 1), ["every answer belongs to its query"]);
        assert_eq!(broken(|_, server, _| server.busy = 1), ["no request is refused as busy"]);
        assert_eq!(broken(|_, server, _| server.rows = 2), ["every commit is a row"]);
        assert_eq!(broken(|_, server, _| server.wrong_exits = 1), ["every release gets the right exit"]);
        assert_eq!(broken(|_, _, probe| *probe = 9), ["the server still serves"]);
    }

    #[test]
    fn lost_slot_or_connection_breaks_an_invariant() {
        let spoiled = |spoil: fn(&mut Pool)| broken(|_, server, _| server.pool.iter_mut().for_each(spoil));
        assert_eq!(spoiled(|pool| pool.in_use = 1), ["the pool is at rest"]);
        assert_eq!(spoiled(|pool| pool.opening_or_closing = 1), ["the pool is at rest"]);
        assert_eq!(spoiled(|pool| pool.waiting = 1), ["the pool is at rest"]);
        assert_eq!(spoiled(|pool| pool.peak = 11), ["the pool keeps to its size"]);
        assert_eq!(spoiled(|pool| pool.closed = 0), ["every connection is idle or closed"]);
        // Fewer handles of a smaller pool can be acquired at once.
        assert_eq!(
            spoiled(|pool| pool.size = 4),
            ["the server still serves", "the server runs no more statements than the pool has connections"]
        );
    }

    #[test]
    fn orphaned_statement_breaks_an_invariant() {
        let spoiled = |spoil: fn(&mut Database)| broken(|_, server, _| server.database.iter_mut().for_each(spoil));
        let more = "the server runs no more statements than the pool has connections";
        assert_eq!(spoiled(|database| database.cut = 0), ["statements are cut"]);
        assert_eq!(spoiled(|database| database.kills = 0), ["every cut statement is stopped"]);
        assert_eq!(spoiled(|database| database.orphaned = 1), ["no statement is orphaned"]);
        assert_eq!(spoiled(|database| database.peak = 11), [more]);
        // A monitor that never sees a statement does not work.
        assert_eq!(spoiled(|database| database.peak = 0), [more]);
        assert_eq!(spoiled(|database| database.running = 1), ["no statement outlives the storm"]);
        assert_eq!(spoiled(|database| database.last_running_ms = 501), ["no statement outlives the storm"]);
    }

    #[test]
    fn stage_that_was_never_cut_breaks_an_invariant() {
        assert_eq!(broken(|_, server, _| server.cut.acquiring = 0), ["every stage is cut"]);
        assert_eq!(broken(|_, server, _| server.cut.holding = 0), ["every stage is cut"]);
        assert_eq!(broken(|_, server, _| server.cut.transaction = 0), ["every stage is cut"]);
        assert_eq!(broken(|_, server, _| server.cut.body = 0), ["every stage is cut"]);
    }

    #[test]
    fn failure_of_a_client_breaks_an_invariant() {
        let failure = || Err(std::io::ErrorKind::TimedOut.into());
        let refusal = || Ok(Outcome::partial(Answer { path: "/use", status: 500, body: Vec::new() }));
        // The row with the tag 7 exists, and no other.
        let promise = |tag| Ok(Outcome::partial(tagged(tag)));
        assert_eq!(broken(|results, _, _| results.scenarios[3].sent = 0), ["every scenario is played"]);
        assert_eq!(
            broken(|results, _, _| results.record(&plan(Scenario::Complete), failure())),
            ["every waiting client is answered", "every plan is carried out"]
        );
        assert_eq!(
            broken(|results, _, _| results.record(&plan(Scenario::Fin), failure())),
            ["every plan is carried out"]
        );
        assert_eq!(
            broken(|results, _, _| results.record(&plan(Scenario::Complete), refusal())),
            ["every answer is a 200"]
        );
        assert_eq!(broken(|results, _, _| results.record(&plan(Scenario::Fin), promise(7))), [""; 0]);
        assert_eq!(
            broken(|results, _, _| results.record(&plan(Scenario::Fin), promise(8))),
            ["no 200 without a commit"]
        );
        assert_eq!(
            broken_over(Http2, |results, _, _| results.record(&plan(Scenario::GoAway), failure())),
            ["every waiting client is answered", "every plan is carried out"]
        );
    }
}
