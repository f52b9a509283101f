//! The settings that a builder collects and each connection is made with.

use std::time::Duration;

use mysql_async::{Opts, OptsBuilder};

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) opts: Opts,
    pub(crate) connect_timeout: Duration,
    pub(crate) operation_timeout: Option<Duration>,
    pub(crate) require_writable: bool,
}

/// The limit of one exchange with the server that no user statement depends on: a KILL, a ping of the control
/// connection, a disconnect.
pub(crate) const HOUSEKEEPING_TIMEOUT: Duration = Duration::from_secs(1);

impl Settings {
    /// Creates settings from the driver's options, with other defaults for two of them.
    pub(crate) fn new(opts: Opts) -> Self {
        let mut builder = OptsBuilder::from_opts(opts.clone())
            // The default makes a second handshake over the server's socket, wherever that path leads on this machine.
            .prefer_socket(false)
            // Read by the driver's own pool only, which is not used here, and otherwise asked of the server.
            .wait_timeout(Some(opts.wait_timeout().unwrap_or(28_800)));
        if opts.tcp_keepalive().is_none() {
            // Keeps the entry in the table of a firewall or a load balancer (they forget after 350 s and more), and
            // detects a vanished peer after as many probes as the system has set.
            builder = builder.tcp_keepalive(Some(Duration::from_secs(60)));
        }
        Settings {
            opts: builder.into(),
            connect_timeout: Duration::from_secs(5),
            operation_timeout: Some(Duration::from_secs(30)),
            require_writable: false,
        }
    }

    /// Changes one of the driver's options.
    pub(crate) fn change(&mut self, change: impl FnOnce(OptsBuilder) -> OptsBuilder) {
        self.opts = change(OptsBuilder::from_opts(self.opts.clone())).into();
    }

    /// Writes the address, without user, password and database: an unencoded `/` in a password would put part of it
    /// into the database name.
    pub(crate) fn describe(&self, debug: &mut std::fmt::DebugStruct<'_, '_>) -> std::fmt::Result {
        let opts = &self.opts;
        match opts.socket() {
            Some(socket) => debug.field("socket", &socket),
            None => debug.field("host", &opts.ip_or_hostname()).field("port", &opts.tcp_port()),
        };
        debug.field("tls", &opts.ssl_opts().is_some()).finish_non_exhaustive()
    }
}
