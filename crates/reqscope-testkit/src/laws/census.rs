use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::limits::BOUND;

/// How soon a census is taken again while it is above its start.
const PAUSE: Duration = Duration::from_millis(2);

/// Counts what is open at the server, and compares it with what was open before the suite.
pub(super) struct Census<'a> {
    open: Box<dyn Count + 'a>,
    start: Cell<usize>,
    /// How long the number may take to return to its start. Shorter once a leak was found, so that a resource that
    /// leaks in each case does not cost the full time in each of them.
    patience: Cell<Duration>,
}

/// An `AsyncFn` behind a pointer.
trait Count {
    fn count(&self) -> Pin<Box<dyn Future<Output = usize> + '_>>;
}

impl<F: AsyncFn() -> usize> Count for F {
    fn count(&self) -> Pin<Box<dyn Future<Output = usize> + '_>> {
        Box::pin(self())
    }
}

/// What a census found that is no number at its start.
pub(super) enum Surplus {
    /// More is open than at the start.
    Open { now: usize, start: usize },
    /// The census did not end.
    Hung,
}

impl<'a> Census<'a> {
    pub(super) fn new(open: impl AsyncFn() -> usize + 'a) -> Self {
        Census { open: Box::new(open), start: Cell::new(0), patience: Cell::new(BOUND) }
    }

    /// Returns how many handles are open now.
    pub(super) async fn now(&self) -> Result<usize, Surplus> {
        timeout(BOUND, self.open.count()).await.map_err(|_elapsed| Surplus::Hung)
    }

    /// Makes the number of now the one that every case has to return to.
    pub(super) async fn start_from_now(&self) -> Result<(), Surplus> {
        self.start.set(self.now().await?);
        Ok(())
    }

    /// Waits until no more is open than at the start.
    pub(super) async fn at_start(&self) -> Result<(), Surplus> {
        let start = self.start.get();
        self.at_most(start).await.inspect_err(|_surplus| self.patience.set(BOUND / 10))
    }

    /// Waits until at most `most` handles are open.
    pub(super) async fn at_most(&self, most: usize) -> Result<(), Surplus> {
        let began = Instant::now();
        loop {
            let now = self.now().await?;
            if now <= most {
                return Ok(());
            }
            if began.elapsed() >= self.patience.get() {
                return Err(Surplus::Open { now, start: self.start.get() });
            }
            sleep(PAUSE).await;
        }
    }
}
