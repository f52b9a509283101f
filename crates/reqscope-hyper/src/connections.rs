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

/// All connections of a server. Dropping it drops them, and cuts the upgraded ones.
pub(crate) struct Connections {
    settings: Arc<Settings>,
    tasks: JoinSet<Ended>,
    slots: SlotRegistry,
    phase: watch::Sender<Phase>,
    /// Each slot owns a clone, so `all_free` is notified when all slots are free.
    slots_taken: mpsc::Sender<Infallible>,
    all_free: mpsc::Receiver<Infallible>,
    tally: Tally,
}

impl Connections {
    pub(crate) fn new(settings: &Arc<Settings>) -> Self {
        let (slots_taken, all_free) = mpsc::channel(1);
        Connections {
            settings: Arc::clone(settings),
            tasks: JoinSet::new(),
            slots: SlotRegistry::default(),
            phase: watch::Sender::new(Phase::Serving),
            slots_taken,
            all_free,
            tally: Tally::new(Arc::clone(&settings.on_event)),
        }
    }

    /// Creates the slot of a new connection.
    pub(crate) fn add_slot(&mut self, permit: OwnedSemaphorePermit) -> Arc<ConnectionSlot> {
        let slot =
            ConnectionSlot::new(permit, &self.settings.metrics, self.phase.subscribe(), self.slots_taken.clone());
        self.slots.add(&slot);
        slot
    }

    /// Spawns the task of a connection.
    pub(crate) fn spawn(&mut self, connection: impl Future<Output = Ended> + Send + 'static) {
        self.tally.accepted();
        self.tasks.spawn(connection);
    }

    /// Waits until a connection ends. Returns `None` if there is none.
    pub(crate) async fn next_end(&mut self) -> Option<Result<Ended, JoinError>> {
        self.tasks.join_next().await
    }

    /// Counts a connection that has ended.
    pub(crate) fn ended(&mut self, ended: Result<Ended, JoinError>) {
        self.tally.ended(ended);
    }

    /// Counts a failed accept.
    pub(crate) fn accept_failed(&mut self, error: &io::Error) {
        self.tally.accept_failed(error);
    }

    /// Shuts down: waits for the requests in flight, cuts those that exceed their grace, and drains the scopes.
    pub(crate) async fn shut_down(self, scopes: &Scopes) -> ServeReport {
        let Connections { settings, mut tasks, slots, phase, slots_taken, mut all_free, mut tally } = self;
        drop(slots_taken);
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
        // `drain` counts from its first poll; report what happened since the shutdown signal.
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

/// Waits until every connection has ended and every slot is free. Returns whether that happened before the deadline.
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

/// The slots in use, to name the requests that did not end in time.
#[derive(Default)]
struct SlotRegistry {
    slots: Vec<Weak<ConnectionSlot>>,
    /// The length at which the free slots are removed.
    threshold: usize,
}

impl SlotRegistry {
    /// Adds a slot.
    fn add(&mut self, slot: &Arc<ConnectionSlot>) {
        if self.slots.len() >= self.threshold {
            self.slots.retain(|slot| slot.strong_count() > 0);
            // Twice the rest, so that the cost per added slot is constant.
            self.threshold = 2 * self.slots.len().max(16);
        }
        self.slots.push(Arc::downgrade(slot));
    }

    /// Returns the requests whose handlers are running.
    fn requests(&self) -> Vec<RequestLine> {
        self.slots.iter().filter_map(Weak::upgrade).flat_map(|slot| slot.requests.lines()).collect()
    }
}
