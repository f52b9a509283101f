use std::time::Duration;

use tokio::time::Instant;

use crate::rt::sync::{AtomicU64, Mutex, Ordering};

/// The coarse clock of a pool. The janitor advances it; check-outs and returns only read it.
///
/// It uses tokio's clock, which tests can pause.
pub(super) struct Clock {
    /// The time of its first tick.
    epoch: Mutex<Instant>,
    ticks: AtomicU64,
}

/// Tenths of a second since the pool was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u32);

impl Tick {
    pub(super) const LENGTH: Duration = Duration::from_millis(100);
    pub(super) const ZERO: Tick = Tick(0);
    pub(super) const NEVER: Tick = Tick(u32::MAX);

    pub(super) fn since(self, earlier: Tick) -> Duration {
        Self::LENGTH * self.0.saturating_sub(earlier.0)
    }

    #[inline]
    pub(super) fn ticks_since(self, earlier: Tick) -> u32 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns how many ticks have passed after that time.
    fn whole(time: Duration) -> u64 {
        u64::try_from(time.as_millis() / Self::LENGTH.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns how many ticks make up that time, rounded up.
    pub(super) fn count(time: Duration) -> u32 {
        u32::try_from(time.as_millis().div_ceil(Self::LENGTH.as_millis())).unwrap_or(u32::MAX)
    }

    pub(super) fn after(self, wait: Duration) -> Tick {
        Tick(self.0.saturating_add(Self::count(wait)))
    }
}

impl Clock {
    pub(super) fn new() -> Self {
        Clock { epoch: Mutex::new(Instant::now()), ticks: AtomicU64::new(0) }
    }

    #[inline]
    pub(super) fn now(&self) -> Tick {
        // Relaxed: the time is accurate to 100 ms only.
        Tick(self.ticks.load(Ordering::Relaxed) as u32)
    }

    pub(super) fn advance(&self) {
        let now = Instant::now();
        let mut epoch = self.epoch.lock();
        let ticks = self.ticks.load(Ordering::Relaxed);
        let passed = Tick::whole(now.saturating_duration_since(*epoch));
        if passed >= ticks {
            self.ticks.store(passed, Ordering::Relaxed);
        } else if let Some(earlier) = now.checked_sub(Tick::LENGTH * ticks as u32) {
            // The clock of an earlier runtime was paused and ran ahead. Continue from there, instead of standing still
            // until this runtime's clock has caught up.
            *epoch = earlier;
        }
    }
}
