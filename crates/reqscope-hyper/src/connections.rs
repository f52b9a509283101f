use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::{Arc, Weak};

use reqscope::Scopes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::phase::Phase;
use crate::report::{Ended, Tally};
use crate::requests::RequestLine;
use crate::settings::Settings;
use crate::slot::ConnectionSlot;
use crate::time::after;
use crate::{ServeEvent, ServeReport};

/// All connections of a server. Dropping it drops them, and cuts those that were handed over.
pub(crate) struct Connections {
    settings: Arc<Settings>,
    tasks: JoinSet<Ended>,
    slots: SlotRegistry,
    phase: watch::Sender<Phase>,
    /// Each place has a clone of it, so the other end hears when all are free.
    taken: mpsc::Sender<Infallible>,
    all_free: mpsc::Receiver<Infallible>,
    tally: Tally,
}

impl Connections {
    pub(crate) fn new(settings: &Arc<Settings>) -> Self {
        let (taken, all_free) = mpsc::channel(1);
        Connections {
            settings: Arc::clone(settings),
            tasks: JoinSet::new(),
            slots: SlotRegistry::default(),
            phase: watch::Sender::new(Phase::Serving),
            taken,
            all_free,
            tally: Tally::new(Arc::clone(&settings.on_event)),
        }
    }

    pub(crate) fn add_slot(&mut self, permit: OwnedSemaphorePermit) -> Arc<ConnectionSlot> {
        let slot = ConnectionSlot::new(permit, &self.settings.metrics, self.phase.subscribe(), self.taken.clone());
        self.slots.add(&slot);
        slot
    }

    pub(crate) fn spawn(&mut self, connection: impl Future<Output = Ended> + Send + 'static) {
        self.tally.accepted();
        self.tasks.spawn(connection);
    }

    pub(crate) async fn next_end(&mut self) -> Option<Result<Ended, JoinError>> {
        self.tasks.join_next().await
    }

    pub(crate) fn ended(&mut self, ended: Result<Ended, JoinError>) {
        self.tally.ended(ended);
    }

    pub(crate) fn accept_failed(&mut self, error: &io::Error) {
        self.tally.accept_failed(error);
    }

    /// The end: what was begun is finished, what is not finished in time is cut, and then the scopes are drained.
    pub(crate) async fn shut_down(self, scopes: &Scopes) -> ServeReport {
        let Connections { settings, mut tasks, slots, phase, taken, mut all_free, mut tally } = self;
        drop(taken);
        let (began, before) = (Instant::now(), scopes.stats());
        phase.send_replace(Phase::Stopping);
        let all_gone = wait_until_empty(&mut tasks, &mut all_free, &mut tally, after(settings.request_grace)).await;

        if !all_gone {
            for request in slots.requests() {
                (settings.on_event)(ServeEvent::RequestCut(&request));
            }
        }
        tally.cut(settings.metrics.upgraded());
        tasks.abort_all();
        phase.send_replace(Phase::Cut);
        let deadline = after(settings.release_grace);
        wait_until_empty(&mut tasks, &mut all_free, &mut tally, deadline).await;

        let mut drained = scopes.drain(deadline.saturating_duration_since(Instant::now())).await;
        // It counts from its first poll, but what counts is what happened since the signal.
        let now = scopes.stats();
        drained.released = now.released - before.released;
        drained.abandoned = now.abandoned - before.abandoned;
        drained.waited = began.elapsed();

        let stuck = slots.requests();
        for request in &stuck {
            (settings.on_event)(ServeEvent::RequestStuck(request));
        }
        tally.cut(tasks.len() as u64);
        tally.report(stuck.len() as u64, settings.metrics.upgraded(), drained)
    }
}

/// Waits until every connection has ended and every place is free. Whether that was before the deadline.
async fn wait_until_empty(
    tasks: &mut JoinSet<Ended>,
    all_free: &mut mpsc::Receiver<Infallible>,
    tally: &mut Tally,
    deadline: Instant,
) -> bool {
    let all_ended = async {
        while let Some(ended) = tasks.join_next().await {
            tally.ended(ended);
        }
        all_free.recv().await
    };
    timeout_at(deadline, all_ended).await.is_ok()
}

/// The places that are taken, for the names of those who will not leave.
#[derive(Default)]
struct SlotRegistry {
    slots: Vec<Weak<ConnectionSlot>>,
    /// How many may be in the list before the free ones are taken out.
    enough: usize,
}

impl SlotRegistry {
    fn add(&mut self, slot: &Arc<ConnectionSlot>) {
        if self.slots.len() >= self.enough {
            self.slots.retain(|slot| slot.strong_count() > 0);
            // Twice what is left: each addition pays for one look.
            self.enough = 2 * self.slots.len().max(16);
        }
        self.slots.push(Arc::downgrade(slot));
    }

    /// The requests whose handlers run.
    fn requests(&self) -> Vec<RequestLine> {
        self.slots.iter().filter_map(Weak::upgrade).flat_map(|slot| slot.requests.lines()).collect()
    }
}
