use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::{Arc, Weak};

use reqscope::Scopes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::phase::Phase;
use crate::place::Place;
use crate::report::{Ended, Tally};
use crate::requests::RequestLine;
use crate::settings::Settings;
use crate::time::after;
use crate::{ServeReport, Trouble};

/// All connections of a server. Dropping it drops them, and cuts those that were handed over.
pub(crate) struct Connections {
    settings: Arc<Settings>,
    tasks: JoinSet<Ended>,
    places: Places,
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
            places: Places::default(),
            phase: watch::Sender::new(Phase::Serving),
            taken,
            all_free,
            tally: Tally::new(Arc::clone(&settings.hear)),
        }
    }

    pub(crate) fn place(&mut self, permit: OwnedSemaphorePermit) -> Arc<Place> {
        let place = Place::new(permit, &self.settings.gauge, self.phase.subscribe(), self.taken.clone());
        self.places.add(&place);
        place
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
    pub(crate) async fn see_out(self, scopes: &Scopes) -> ServeReport {
        let Connections { settings, mut tasks, places, phase, taken, mut all_free, mut tally } = self;
        drop(taken);
        let (began, before) = (Instant::now(), scopes.stats());
        phase.send_replace(Phase::Stopping);
        let all_gone = leave(&mut tasks, &mut all_free, &mut tally, after(settings.request_grace)).await;

        if !all_gone {
            for request in places.requests() {
                (settings.hear)(Trouble::Cut(&request));
            }
        }
        tally.cut(settings.gauge.upgraded());
        tasks.abort_all();
        phase.send_replace(Phase::Cut);
        let deadline = after(settings.release_grace);
        leave(&mut tasks, &mut all_free, &mut tally, deadline).await;

        let mut drained = scopes.drain(deadline.saturating_duration_since(Instant::now())).await;
        // It counts from its first poll, but what counts is what happened since the signal.
        let now = scopes.stats();
        drained.released = now.released - before.released;
        drained.abandoned = now.abandoned - before.abandoned;
        drained.waited = began.elapsed();

        let stuck = places.requests();
        for request in &stuck {
            (settings.hear)(Trouble::Stuck(request));
        }
        tally.cut(tasks.len() as u64);
        tally.report(stuck.len() as u64, settings.gauge.upgraded(), drained)
    }
}

/// Waits until every connection has ended and every place is free. Whether that was before the deadline.
async fn leave(
    tasks: &mut JoinSet<Ended>,
    all_free: &mut mpsc::Receiver<Infallible>,
    tally: &mut Tally,
    deadline: Instant,
) -> bool {
    let everybody = async {
        while let Some(ended) = tasks.join_next().await {
            tally.ended(ended);
        }
        all_free.recv().await
    };
    timeout_at(deadline, everybody).await.is_ok()
}

/// The places that are taken, for the names of those who will not leave.
#[derive(Default)]
struct Places {
    weak: Vec<Weak<Place>>,
    /// How many may be in the list before the free ones are taken out.
    enough: usize,
}

impl Places {
    fn add(&mut self, place: &Arc<Place>) {
        if self.weak.len() >= self.enough {
            self.weak.retain(|place| place.strong_count() > 0);
            // Twice what is left: each addition pays for one look.
            self.enough = 2 * self.weak.len().max(16);
        }
        self.weak.push(Arc::downgrade(place));
    }

    /// The requests whose handlers run.
    fn requests(&self) -> Vec<RequestLine> {
        self.weak.iter().filter_map(Weak::upgrade).flat_map(|place| place.requests.lines()).collect()
    }
}
