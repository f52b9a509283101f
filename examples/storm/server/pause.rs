//! A wait of a random length.
use std::time::Duration;

/// Waits for a random time of at most `longest`.
pub(crate) async fn pause(longest: Duration) {
    if !longest.is_zero() {
        tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
    }
}
