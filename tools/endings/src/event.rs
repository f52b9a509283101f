use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use reqscope_testkit::Outcome;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::BOUND;

/// Something observed while an ending was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A scope was opened for a request.
    Opened,
    /// The handler, or its body, waits at the gate.
    Waiting,
    /// The handler reads the body of the request.
    Reading,
    /// The handler returned a response.
    Returned,
    /// The handler returned an error.
    ReturnedError,
    /// The handler was dropped before it had returned.
    Dropped,
    /// The handler panicked.
    Panicked,
    /// The response's body was polled for its first frame.
    BodyPolled,
    /// The response's body came to its end.
    BodyEnded,
    /// The response's body failed.
    BodyFailed,
    /// The response's body was dropped before its end.
    BodyCut,
    /// The response's body was dropped without having been polled.
    BodyUnpolled,
    /// The response's body was dropped, at whatever point.
    BodyDropped,
    /// The response's body panicked.
    BodyPanicked,
    /// The server saw a client hang up.
    HungUp,
    /// A panic took a connection down.
    ConnectionPanicked,
    /// The server cut a connection at the end of its grace period.
    ConnectionCut,
    /// An event of one ending, reported by its handler or client.
    Custom(&'static str),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::Opened => "the scope was opened",
            Event::Waiting => "the handler waited",
            Event::Reading => "the handler read the request",
            Event::Returned => "the handler returned",
            Event::ReturnedError => "the handler failed",
            Event::Dropped => "the handler was dropped",
            Event::Panicked => "the handler panicked",
            Event::BodyPolled => "the body was polled",
            Event::BodyEnded => "the body ended",
            Event::BodyFailed => "the body failed",
            Event::BodyCut => "the body was cut",
            Event::BodyUnpolled => "the body was never polled",
            Event::BodyDropped => "the body was dropped",
            Event::BodyPanicked => "the body panicked",
            Event::HungUp => "the server saw the client hang up",
            Event::ConnectionPanicked => "the panic took the connection down",
            Event::ConnectionCut => "the server cut the connection",
            Event::Custom(what) => what,
        })
    }
}

/// The events of one ending, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Inner>);

#[derive(Default)]
struct Inner {
    events: Mutex<Vec<Event>>,
    added: Notify,
}

impl Log {
    /// Adds an event.
    pub(crate) fn add(&self, event: Event) {
        self.0.events.lock().push(event);
        self.0.added.notify_waiters();
    }

    /// Returns how often an event has happened.
    pub(crate) fn count(&self, event: Event) -> usize {
        self.0.events.lock().iter().filter(|seen| **seen == event).count()
    }

    /// Returns all events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.events.lock().clone()
    }

    /// Waits until an event has happened so many times.
    pub(crate) async fn wait_for(&self, event: Event, times: usize) -> anyhow::Result<()> {
        let happened = async {
            loop {
                // Registered before the count, so that an event between the two is not missed.
                let mut added = std::pin::pin!(self.0.added.notified());
                added.as_mut().enable();
                if self.count(event) >= times {
                    return;
                }
                added.await;
            }
        };
        timeout(BOUND, happened).await.with_context(|| format!("did not happen: {event}; but {:?}", self.events()))
    }
}

/// Lets one waiting call through a gate. Fails if none waits there.
pub(crate) fn let_through(gate: &reqscope_testkit::Gate) -> anyhow::Result<()> {
    anyhow::ensure!(gate.waiting() > 0, "nothing waits at the gate");
    gate.next(Outcome::ok());
    Ok(())
}

/// Waits until a condition holds, for [`BOUND`] at most. `what` names the condition in the error.
pub(crate) async fn until(what: &str, condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    until_within(BOUND, what, condition).await
}

/// Waits until a condition holds, for `bound` at most.
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
