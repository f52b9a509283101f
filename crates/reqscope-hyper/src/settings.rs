use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;

use crate::ServeMetrics;
use crate::descriptors::default_max_connections;
use crate::report::OnEvent;

pub(crate) type Http = auto::Builder<TokioExecutor>;

/// With the release grace it stays below the 30 s that container platforms give by default.
const REQUEST_GRACE: Duration = Duration::from_secs(15);
/// Twice the default deadline of a release, so that a release that hangs is abandoned and reported before it elapses.
const RELEASE_GRACE: Duration = Duration::from_secs(10);
/// The interval of pings to an HTTP/2 peer, and the time it has to answer: a dead peer is noticed within 40 s, where
/// TCP takes 60 s.
const PING: Duration = Duration::from_secs(20);
/// The same as hyper's default for the head of a request.
const FIRST_REQUEST: Duration = Duration::from_secs(30);
/// A handshake takes a few round trips; this leaves time for some lost packets.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The settings of a server.
pub(crate) struct Settings {
    pub(crate) http: Http,
    pub(crate) watch: bool,
    pub(crate) half_close: bool,
    pub(crate) max_connections: Option<usize>,
    pub(crate) handshake: Duration,
    pub(crate) first_request: Duration,
    pub(crate) request_grace: Duration,
    pub(crate) release_grace: Duration,
    pub(crate) on_event: OnEvent,
    pub(crate) metrics: ServeMetrics,
}

impl Settings {
    /// Returns the configured limit, or one that fits the process's limit on descriptors.
    pub(crate) fn max_connections(&self) -> usize {
        let descriptors = if self.watch { 2 } else { 1 };
        self.max_connections.unwrap_or_else(|| default_max_connections(descriptors))
    }
}

impl Default for Settings {
    fn default() -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new());
        http.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);
        Settings {
            http,
            watch: true,
            half_close: false,
            max_connections: None,
            handshake: HANDSHAKE,
            first_request: FIRST_REQUEST,
            request_grace: REQUEST_GRACE,
            release_grace: RELEASE_GRACE,
            on_event: Arc::new(|_| ()),
            metrics: ServeMetrics::default(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("watch", &self.watch)
            .field("half_close", &self.half_close)
            .field("max_connections", &self.max_connections)
            .field("handshake", &self.handshake)
            .field("first_request", &self.first_request)
            .field("request_grace", &self.request_grace)
            .field("release_grace", &self.release_grace)
            .finish_non_exhaustive()
    }
}
