use anyhow::{Context, ensure};
use reqscope::Exit;
use reqscope_hyper::ServeReport;
use reqscope_testkit::{HandleState, Ledger};

use crate::event::Event;
use crate::fixture::Fixture;
use crate::{Expected, Seen};

/// What was observed of one ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) exits: Vec<Exit>,
    pub(crate) released: u64,
    pub(crate) abandoned: u64,
    pub(crate) seen: Seen,
    /// The expected events that happened.
    pub(crate) events: Vec<Event>,
}

/// Returns what was observed, and an error if it is not what is expected.
pub(crate) fn judge(
    expected: &Expected,
    settling: bool,
    fixture: &Fixture,
    ledger: &Ledger,
    report: &ServeReport,
    seen: Seen,
) -> (Observed, anyhow::Result<()>) {
    let log = &fixture.log;
    let happened = [
        (fixture.scopes.stats().opened_scopes, Event::Opened),
        (report.hung_up, Event::HungUp),
        (report.panicked, Event::ConnectionPanicked),
        (report.cut, Event::ConnectionCut),
    ];
    happened.into_iter().filter(|(times, _)| *times > 0).for_each(|(_, event)| log.add(event));
    let counts = fixture.probe.counts();
    let observed = Observed {
        exits: fixture.probe.releases().iter().map(|release| release.exit).collect(),
        released: counts.released + counts.reclaimed,
        abandoned: counts.abandoned,
        seen,
        events: expected.events.iter().copied().filter(|event| log.count(*event) > 0).collect(),
    };
    let verdict = || {
        let Observed { exits, released, abandoned, seen, events } = &observed;
        ensure!(!expected.events.is_empty(), "no event is declared that would prove that it happened");
        ensure!(*events == expected.events, "not all of {:?} happened, but {:?}", expected.events, log.events());
        ensure!(*exits == expected.exits, "the exits are {exits:?} instead of {:?}", expected.exits);
        ensure!(*abandoned == expected.abandoned, "{abandoned} abandoned instead of {}", expected.abandoned);
        ensure!(released + abandoned == exits.len() as u64, "{released} released of {}", exits.len());
        ensure!(*seen == expected.seen, "the client saw {seen} instead of {}", expected.seen);
        ensure!(counts.acquired == exits.len() as u64, "{} acquired, {} released", counts.acquired, exits.len());
        ensure!(counts.live() == 0, "{} not released", counts.live());
        ensure!(counts.double_released == 0, "released twice");
        ensure!(counts.used_after_release == 0, "used after its release");
        for id in 0..counts.acquired {
            let record = fixture.probe.record(id);
            ensure!(record.exits.len() == 1, "handle {id} was released with {:?}", record.exits);
            ensure!(record.state != HandleState::Live, "handle {id} is live");
        }
        if settling && expected.unsettled.is_none() && matches!(seen, Seen::Complete(200..400)) {
            // L11
            ensure!(exits.iter().all(|exit| exit.is_completed()), "a success without its commit: {exits:?}");
        }
        ensure!(ledger.open() == 0, "the ledger does not balance: {:?}", ledger.balance());
        ensure!(report.is_clean() == expected.clean, "the server's report: {report:?}");
        Ok(())
    };
    let verdict = verdict().with_context(|| if settling { "settling" } else { "plain" });
    (observed, verdict)
}
