//! What everything of one connection has in common: its task, its socket, its handlers.
//!
//! 1. A place is free when the last of them has gone, and so are the permit and the count that it holds. That may be
//!    long after the connection's task has ended: an upgraded socket belongs to the user, and a handler of HTTP/2 runs
//!    in a task of its own.
//! 2. The server waits at its end until all places are free, so whatever still runs has one.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::metrics::{CountGuard, ServeMetrics};
use crate::phase::Phase;
use crate::requests::{RequestLine, RunningRequests};

pub(crate) struct ConnectionSlot {
    pub(crate) requests: RunningRequests,
    /// A request has come.
    called: AtomicBool,
    /// A response said that what follows is not HTTP any more.
    switching: AtomicBool,
    socket: Mutex<SocketState>,
    metrics: ServeMetrics,
    phase: watch::Receiver<Phase>,
    _counted: CountGuard,
    _permit: OwnedSemaphorePermit,
    /// Never sends: that all of them are dropped is the message.
    _taken: mpsc::Sender<Infallible>,
}

enum SocketState {
    InHttp,
    HandedOver(#[expect(dead_code, reason = "counts by being there")] CountGuard),
    Closed,
}

impl ConnectionSlot {
    pub(crate) fn new(
        permit: OwnedSemaphorePermit,
        metrics: &ServeMetrics,
        phase: watch::Receiver<Phase>,
        taken: mpsc::Sender<Infallible>,
    ) -> Arc<Self> {
        Arc::new(ConnectionSlot {
            requests: RunningRequests::default(),
            called: AtomicBool::new(false),
            switching: AtomicBool::new(false),
            socket: Mutex::new(SocketState::InHttp),
            metrics: metrics.clone(),
            phase,
            _counted: metrics.count_connection(),
            _permit: permit,
            _taken: taken,
        })
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    pub(crate) fn begin<B>(self: &Arc<Self>, request: &Request<B>) -> RunningRequest {
        // Read by the task that polls the connection, which is the one that calls.
        self.called.store(true, Relaxed);
        RunningRequest { index: self.requests.begin(RequestLine::of(request)), slot: Arc::clone(self) }
    }

    pub(crate) fn was_called(&self) -> bool {
        self.called.load(Relaxed)
    }

    /// Says that the socket may be handed over from now on. It is the socket's own task that says so and that reads it;
    /// whoever gets the socket afterwards gets it over a channel.
    pub(crate) fn switch(&self) {
        self.switching.store(true, Relaxed);
    }

    pub(crate) fn is_switching(&self) -> bool {
        self.switching.load(Relaxed)
    }

    /// HTTP has ended. A socket that is not closed yet is somebody else's now.
    pub(crate) fn http_ended(&self) {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let SocketState::InHttp = *socket {
            *socket = SocketState::HandedOver(self.metrics.count_upgraded());
        }
    }

    pub(crate) fn socket_closed(&self) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = SocketState::Closed;
    }
}

/// A request whose handler runs; dropped with the handler.
pub(crate) struct RunningRequest {
    slot: Arc<ConnectionSlot>,
    index: usize,
}

impl RunningRequest {
    pub(crate) fn slot(&self) -> &ConnectionSlot {
        &self.slot
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.slot.requests.end(self.index);
    }
}
