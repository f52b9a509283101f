//! The callers of the pool.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::{Pool, Resource};
use tokio::time::sleep;

use super::log::Log;

/// The pause of a caller between an answer and its next question.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// Connections that a question can be asked over.
pub(crate) trait Ask: Resource {
    /// Asks a question, and returns whether there was an answer.
    fn ask(handle: &mut Self::Handle) -> impl Future<Output = bool> + Send;
}

/// Runs one caller, which asks again and again.
pub(super) async fn call<R: Ask>(pool: Arc<Pool<R>>, log: Arc<Log>) {
    sleep(PAUSE.mul_f64(fastrand::f64())).await;
    while !log.is_closed() {
        let asked = Instant::now();
        let answer = pool.get().await;
        log.answer(asked, asked.elapsed());
        if let Ok(mut handle) = answer {
            // A handle without an answer is dropped, so that the pool validates it.
            if R::ask(&mut handle).await {
                log.success();
                pool.put(handle);
            }
        }
        sleep(PAUSE).await;
    }
}

/// Logs the lag of a timer that is as long as the pause of a caller.
pub(crate) async fn watch_timer(log: Arc<Log>) {
    while !log.is_closed() {
        let begun = Instant::now();
        sleep(PAUSE).await;
        log.lag(begun.elapsed().saturating_sub(PAUSE));
    }
}
