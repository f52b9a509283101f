//! The steps of scripts. Each step is bounded, and says what was seen if it fails.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::backend::Backend;
use crate::contender::{Contender, NotOffered};

/// The most that anything immediate may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// How long a handle may take to arrive that is returned in a task.
pub(crate) const ARRIVAL: Duration = Duration::from_millis(20);

/// The time between two checks of a condition.
const GLANCE: Duration = Duration::from_millis(5);

/// Why a contender does not pass.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    Saw(String),
    NotOffered,
}

impl Unmet {
    pub(crate) fn saw(what: impl fmt::Display) -> Unmet {
        Unmet::Saw(what.to_string())
    }
}

impl From<NotOffered> for Unmet {
    fn from(_: NotOffered) -> Unmet {
        Unmet::NotOffered
    }
}

/// Returns what was seen, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($saw:tt)+) => {
        match $condition {
            true => {}
            false => return Err($crate::faults::steps::Unmet::saw(format_args!($($saw)+))),
        }
    };
}
pub(crate) use ensure;

/// Returns whether the condition holds before the time is over.
pub(crate) async fn comes_true(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() > limit {
            return false;
        }
        sleep(GLANCE).await;
    }
    true
}

/// Returns the output of the future, or fails if that takes longer.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> Result<T, Unmet> {
    timeout(limit, future).await.map_err(|_| Unmet::saw(format_args!("hangs: {what}, for {limit:?}")))
}

/// Checks a handle out. A get that is refused is repeated until the time is over.
pub(crate) async fn take<C: Contender, B: Backend>(
    pool: &Arc<C::Pool<B>>,
    patience: Duration,
) -> Result<C::Guard<B>, Unmet> {
    let begun = Instant::now();
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        // In a task of its own, for a get that panics.
        let pool = Arc::clone(pool);
        let get = tokio::spawn(async move { C::get(&pool).await });
        let stop = get.abort_handle();
        let Ok(outcome) = timeout(left, get).await else {
            stop.abort();
            return Err(Unmet::saw(format_args!("hangs: a get waits, for {patience:?}")));
        };
        match outcome.map_err(|error| Unmet::saw(format_args!("a get panics: {}", message(error.into_panic()))))? {
            Ok(guard) => return Ok(guard),
            Err(refused) if begun.elapsed() > patience => {
                return Err(Unmet::saw(format_args!("a get is refused for {patience:?}: {refused}")));
            }
            Err(_) => sleep(GLANCE).await,
        }
    }
}

/// Checks out as many handles as there are slots.
pub(crate) async fn take_all<C: Contender, B: Backend>(
    pool: &Arc<C::Pool<B>>,
    slots: usize,
) -> Result<Vec<C::Guard<B>>, Unmet> {
    let mut guards = Vec::new();
    while guards.len() < slots {
        match take::<C, B>(pool, PATIENCE).await {
            Ok(guard) => guards.push(guard),
            Err(Unmet::Saw(saw)) => {
                return Err(Unmet::saw(format_args!("{} of {slots} slots serve, then {saw}", guards.len())));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(guards)
}

/// Fills the pool with so many idle handles.
pub(crate) async fn fill<C: Contender, B: Backend>(pool: &Arc<C::Pool<B>>, slots: usize) -> Result<(), Unmet> {
    for guard in take_all::<C, B>(pool, slots).await? {
        C::put(pool, guard);
    }
    sleep(ARRIVAL).await;
    Ok(())
}

/// Returns the message of a panic.
pub(crate) fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => {
            panic.downcast::<&str>().map_or_else(|_| "without a message".to_owned(), |said| (*said).to_owned())
        }
    }
}
