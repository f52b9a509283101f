//! The pool's callers.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::{Pool, Resource};
use tokio::time::sleep;

use super::log::Log;

/// Of a caller between an answer and its next question.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// Connections that a question can be asked over.
pub(crate) trait Ask: Resource {
    /// Whether there was an answer.
    fn ask(handle: &mut Self::Handle) -> impl Future<Output = bool> + Send;
}

/// A caller, who tries again and again.
pub(super) async fn call<R: Ask>(pool: Arc<Pool<R>>, log: Arc<Log>) {
    sleep(PAUSE.mul_f64(fastrand::f64())).await;
    while !log.is_closed() {
        let asked = Instant::now();
        let answer = pool.get().await;
        log.answer(asked, asked.elapsed());
        if let Ok(mut handle) = answer {
            // One that was cut off is dropped, so that the pool proves it.
            if R::ask(&mut handle).await {
                log.good();
                pool.put(handle);
            }
        }
        sleep(PAUSE).await;
    }
}

/// Somebody who pauses as long, and does nothing else.
pub(crate) async fn watch_timer(log: Arc<Log>) {
    while !log.is_closed() {
        let begun = Instant::now();
        sleep(PAUSE).await;
        log.lag(begun.elapsed().saturating_sub(PAUSE));
    }
}
