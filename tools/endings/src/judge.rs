use anyhow::{Context, ensure};
use reqscope::Exit;
use reqscope_hyper::ServeReport;
use reqscope_testkit::{Fate, Ledger};

use crate::event::Event;
use crate::scene::Scene;
use crate::{Must, Seen};

/// What was observed of one ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) told: Vec<Exit>,
    pub(crate) released: u64,
    pub(crate) abandoned: u64,
    pub(crate) seen: Seen,
    /// Those that had to be, and were.
    pub(crate) events: Vec<Event>,
}

/// What was observed, and whether it is what must be.
pub(crate) fn judge(
    must: &Must,
    settling: bool,
    scene: &Scene,
    ledger: &Ledger,
    report: &ServeReport,
    seen: Seen,
) -> (Observed, anyhow::Result<()>) {
    let log = &scene.log;
    let happened = [
        (scene.scopes.stats().opened_scopes, Event::Opened),
        (report.hung_up, Event::HungUp),
        (report.panicked, Event::ConnectionPanicked),
        (report.cut, Event::ConnectionCut),
    ];
    happened.into_iter().filter(|(times, _)| *times > 0).for_each(|(_, event)| log.add(event));
    let counts = scene.probe.counts();
    let observed = Observed {
        told: scene.probe.releases().iter().map(|release| release.exit).collect(),
        released: counts.released + counts.reclaimed,
        abandoned: counts.abandoned,
        seen,
        events: must.events.iter().copied().filter(|event| log.count(*event) > 0).collect(),
    };
    let verdict = || {
        let Observed { told, released, abandoned, seen, events } = &observed;
        ensure!(!must.events.is_empty(), "no event is declared that would prove that it happened");
        ensure!(*events == must.events, "not all of {:?} happened, but {:?}", must.events, log.events());
        ensure!(*told == must.told, "told {told:?} instead of {:?}", must.told);
        ensure!(*abandoned == must.abandoned, "{abandoned} abandoned instead of {}", must.abandoned);
        ensure!(released + abandoned == told.len() as u64, "{released} released of {}", told.len());
        ensure!(*seen == must.sees, "the client saw {seen} instead of {}", must.sees);
        ensure!(counts.acquired == told.len() as u64, "{} acquired, {} told", counts.acquired, told.len());
        ensure!(counts.live() == 0, "{} are still out", counts.live());
        ensure!(counts.double_released == 0, "released twice");
        ensure!(counts.used_after_release == 0, "used after its release");
        for id in 0..counts.acquired {
            let record = scene.probe.record(id);
            ensure!(record.exits.len() == 1, "handle {id} was told {:?}", record.exits);
            ensure!(record.fate != Fate::Live, "handle {id} is live");
        }
        if settling && must.unsettled.is_none() && matches!(seen, Seen::Whole(200..400)) {
            // L11
            ensure!(told.iter().all(|exit| exit.is_completed()), "a success without its commit: {told:?}");
        }
        ensure!(ledger.open() == 0, "the ledger does not balance: {:?}", ledger.balance());
        ensure!(report.is_clean() == must.clean, "the server's report: {report:?}");
        Ok(())
    };
    let verdict = verdict().with_context(|| if settling { "settling" } else { "plain" });
    (observed, verdict)
}
