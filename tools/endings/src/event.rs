use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use reqscope_testkit::Outcome;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::BOUND;

/// What somebody saw happen while an ending was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A scope was opened for a request.
    Opened,
    /// The handler stands at its gate.
    Waits,
    /// The handler reads the request's body.
    Reads,
    /// The handler returned a response.
    Returned,
    /// The handler returned an error.
    Erred,
    /// The handler was dropped before it had returned.
    Dropped,
    /// The handler panicked.
    Unwound,
    /// The response's body was asked for its first frame.
    BodyBegun,
    /// The response's body came to its end.
    BodyEnded,
    /// The response's body failed.
    BodyFailed,
    /// The response's body was dropped before its end.
    BodyCut,
    /// The response's body was dropped before anybody had asked it for a frame.
    BodyUnasked,
    /// The response's body is gone, in whatever way.
    BodyGone,
    /// The response's body panicked.
    BodyUnwound,
    /// The server saw a client go.
    HungUp,
    /// A panic took a connection down.
    ConnectionPanicked,
    /// The server cut a connection when its grace was over.
    ConnectionCut,
    /// What only this ending can tell.
    Saw(&'static str),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::Opened => "the scope was opened",
            Event::Waits => "the handler waited",
            Event::Reads => "the handler read",
            Event::Returned => "the handler returned",
            Event::Erred => "the handler failed",
            Event::Dropped => "the handler was dropped",
            Event::Unwound => "the handler panicked",
            Event::BodyBegun => "the body began",
            Event::BodyEnded => "the body ended",
            Event::BodyFailed => "the body failed",
            Event::BodyCut => "the body was cut",
            Event::BodyUnasked => "nobody asked the body",
            Event::BodyGone => "the body is gone",
            Event::BodyUnwound => "the body panicked",
            Event::HungUp => "the server saw the client go",
            Event::ConnectionPanicked => "the panic took the connection down",
            Event::ConnectionCut => "the server cut the connection",
            Event::Saw(what) => what,
        })
    }
}

/// All events of one ending, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Inner>);

#[derive(Default)]
struct Inner {
    events: Mutex<Vec<Event>>,
    added: Notify,
}

impl Log {
    pub(crate) fn add(&self, event: Event) {
        self.0.events.lock().push(event);
        self.0.added.notify_waiters();
    }

    pub(crate) fn count(&self, event: Event) -> usize {
        self.0.events.lock().iter().filter(|seen| **seen == event).count()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.events.lock().clone()
    }

    /// Waits until it has happened so many times.
    pub(crate) async fn hears(&self, event: Event, times: usize) -> anyhow::Result<()> {
        let heard = async {
            loop {
                // Registered before the look, so that nothing is missed between the two.
                let mut added = std::pin::pin!(self.0.added.notified());
                added.as_mut().enable();
                if self.count(event) >= times {
                    return;
                }
                added.await;
            }
        };
        timeout(BOUND, heard).await.with_context(|| format!("not heard: {event}; but {:?}", self.events()))
    }
}

/// Lets one call through a gate, now and not before: fails where none waits.
pub(crate) fn let_through(gate: &reqscope_testkit::Gate) -> anyhow::Result<()> {
    anyhow::ensure!(gate.waiting() > 0, "nobody waits at the gate");
    gate.next(Outcome::ok());
    Ok(())
}

/// Waits until a condition holds, and says what did not.
pub(crate) async fn until(what: &str, condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    until_within(BOUND, what, condition).await
}

/// The same within a bound of the caller's.
pub(crate) async fn until_within(
    bound: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let begun = tokio::time::Instant::now();
    for turn in 0.. {
        if condition() {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < bound, "not within {bound:?}: {what}");
        match turn {
            0..32 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    Ok(())
}
