//! The state that the task, the socket and the handlers of one connection share.
//!
//! 1. A slot is free when the last of them was dropped, and with it the permit and the count that it holds. That may be
//!    long after the connection's task has ended: an upgraded socket belongs to the user, and an HTTP/2 handler runs in
//!    a task of its own.
//! 2. A shutdown waits until all slots are free, so everything that still runs owns a reference to a slot.

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
    /// A request has arrived.
    called: AtomicBool,
    /// A response has switched protocols: what follows is not HTTP.
    switching: AtomicBool,
    socket: Mutex<SocketState>,
    metrics: ServeMetrics,
    phase: watch::Receiver<Phase>,
    _counted: CountGuard,
    _permit: OwnedSemaphorePermit,
    /// Never sends. The receiver is notified when all clones are dropped.
    _all_free: mpsc::Sender<Infallible>,
}

enum SocketState {
    InHttp,
    HandedOver(#[expect(dead_code, reason = "counts while it exists")] CountGuard),
    Closed,
}

impl ConnectionSlot {
    /// Creates the slot of a new connection, which owns `permit` until the slot is free.
    pub(crate) fn new(
        permit: OwnedSemaphorePermit,
        metrics: &ServeMetrics,
        phase: watch::Receiver<Phase>,
        all_free: mpsc::Sender<Infallible>,
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
            _all_free: all_free,
        })
    }

    /// Returns a receiver of the server's phase.
    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Registers a request whose handler is about to run.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: &Request<B>) -> RunningRequest {
        // Relaxed: written and read by the task that polls the connection.
        self.called.store(true, Relaxed);
        RunningRequest { index: self.requests.begin(RequestLine::of(request)), slot: Arc::clone(self) }
    }

    /// Returns whether a request has arrived.
    pub(crate) fn was_called(&self) -> bool {
        self.called.load(Relaxed)
    }

    /// Marks the connection as switching protocols, after which the socket may be handed over to the user.
    ///
    /// Relaxed: the connection's task writes and reads it, and the user receives the socket over a channel.
    pub(crate) fn switch(&self) {
        self.switching.store(true, Relaxed);
    }

    /// Returns whether a response has switched protocols.
    pub(crate) fn is_switching(&self) -> bool {
        self.switching.load(Relaxed)
    }

    /// Records that HTTP has ended. A socket that is not closed yet now belongs to the user.
    pub(crate) fn http_ended(&self) {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let SocketState::InHttp = *socket {
            *socket = SocketState::HandedOver(self.metrics.count_upgraded());
        }
    }

    /// Records that the socket was closed.
    pub(crate) fn socket_closed(&self) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = SocketState::Closed;
    }
}

/// A request whose handler is running; dropped with the handler.
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
