use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

const FIRST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);
/// The number of lost clients in a row that cause no pause, because it would delay the other clients.
const FREE: u32 = 64;

/// The pauses between failed accepts: 5 ms, doubled up to a second, reset by a success.
///
/// Without descriptors (`EMFILE`, `ENFILE`) or memory the connection stays in the kernel's queue, so calling again at
/// once would spin.
#[derive(Default)]
pub(crate) struct Backoff {
    until: Option<Instant>,
    failures: u32,
    lost: u32,
}

impl Backoff {
    /// Waits until the pause has ended, if there is one.
    ///
    /// # Cancel safety
    ///
    /// The pause ends at a fixed instant; dropping the future does not extend it.
    pub(crate) async fn wait(&self) {
        if let Some(until) = self.until {
            sleep_until(until).await;
        }
    }

    /// Resets the pauses after a successful accept.
    pub(crate) fn succeeded(&mut self) {
        *self = Backoff::default();
    }

    /// Starts the next pause after a failed accept.
    pub(crate) fn failed(&mut self, error: &io::Error) {
        if is_of_one_client(error) && self.lost < FREE {
            self.lost += 1;
            return;
        }
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        self.until = Some(Instant::now() + pause);
    }
}

/// Returns whether the error affects only the connection that was to be accepted; accept(2) lists these.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(backoff: &Backoff) -> Duration {
        backoff.until.map_or(Duration::ZERO, |until| until - Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_second_until_a_success() {
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            backoff.failed(&io::Error::other("too many open files"));
            pauses.push(pause(&backoff).as_millis());
        }
        assert_eq!(pauses[..10], [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(pauses[39], 1000);

        backoff.succeeded();
        backoff.failed(&io::Error::other("too many open files"));
        assert_eq!(pause(&backoff), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn lost_clients_cause_a_pause_only_after_many_in_a_row() {
        let mut backoff = Backoff::default();
        for _ in 0..FREE {
            backoff.failed(&io::ErrorKind::ConnectionAborted.into());
            assert_eq!(pause(&backoff), Duration::ZERO);
        }
        backoff.failed(&io::ErrorKind::ConnectionAborted.into());
        assert_eq!(pause(&backoff), FIRST);
    }
}
