use std::time::Duration;

use tokio::time::Instant;

/// Replaces a duration that the clock cannot represent: practically never.
const FAR_FUTURE: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// Returns the instant `duration` from now.
pub(crate) fn after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FAR_FUTURE)
}
