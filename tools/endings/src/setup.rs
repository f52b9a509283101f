use std::time::Duration;

use crate::BOUND;
use crate::layers::Layers;

/// How a server is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The layer inside or around the scope.
    pub(crate) layers: Layers,
    /// The timeout of the request.
    pub(crate) timeout: Option<Duration>,
    /// The interval between pings to an HTTP/2 client. The client may take ten times as long to answer one, so that on a
    /// busy machine it is not taken for one that has vanished.
    pub(crate) ping: Option<Duration>,
    pub(crate) half_close: bool,
    /// How long it may take, after the client has ended, until all handles are released.
    pub(crate) idle_bound: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) request_grace: Duration,
    pub(crate) release_grace: Duration,
}

impl Setup {
    pub(crate) const DEFAULT: Setup = Setup {
        layers: Layers::None,
        timeout: None,
        ping: None,
        half_close: false,
        idle_bound: BOUND,
        close_timeout: BOUND,
        request_grace: BOUND,
        release_grace: BOUND,
    };

    /// A time limit that an ending waits for.
    pub(crate) const SOON: Duration = Duration::from_millis(50);
}
