use std::time::Duration;

use tokio::time::Instant;

/// Where a duration is beyond what a clock can say: as good as never.
const FAR_FUTURE: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// The point in time that is so far away.
pub(crate) fn after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FAR_FUTURE)
}
