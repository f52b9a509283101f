//! Makes a connection: tries all addresses of the name under one deadline.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::time::{Instant, timeout_at};

use crate::MySqlError;
use crate::server::ServerInfo;
use crate::settings::{Settings, deadline};

/// A new connection, with the options that lead to the same address again.
pub(crate) struct Connected {
    pub(crate) conn: Conn,
    pub(crate) info: ServerInfo,
    pub(crate) opts: Opts,
}

/// Resolves the name, each time anew, and tries its addresses one after the other.
///
/// # Cancel safety
///
/// The driver owns a half-made connection and closes it.
pub(crate) async fn connect(settings: &Settings) -> Result<Connected, MySqlError> {
    let deadline = deadline(settings.connect_timeout);
    let late = |_elapsed| MySqlError::TimedOut { what: "connecting", after: settings.connect_timeout };
    if settings.opts.socket().is_some() {
        // If this is dropped here, the driver's future owns the socket.
        return timeout_at(deadline, attempt(settings, settings.opts.clone())).await.map_err(late)?;
    }
    let addresses = timeout_at(deadline, resolve(&settings.opts)).await.map_err(late)??;
    let tried = addresses.len();
    let mut outcome = Err(MySqlError::from(mysql_async::Error::from(io::Error::new(
        io::ErrorKind::NotFound,
        "the name resolves to no address",
    ))));
    for (done, address) in addresses.into_iter().enumerate() {
        // Each address gets an equal share of the time left: one that drops packets must not use up the time of the
        // others.
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(tried - done).unwrap_or(u32::MAX);
        // If this is dropped here, the driver's future owns the socket.
        let tried_here = timeout_at(now + share, attempt(settings, pin(&settings.opts, address.ip()))).await;
        // A single address had the whole time, minus what resolving the name took.
        let after = if tried == 1 { settings.connect_timeout } else { share };
        outcome = tried_here.unwrap_or_else(|_late| Err(MySqlError::TimedOut { what: "connecting", after }));
        match outcome {
            Err(cause) if tried > 1 => {
                outcome = Err(MySqlError::Unreachable { tried, last: address, cause: Box::new(cause) });
            }
            _ => return outcome,
        }
    }
    outcome
}

/// Makes another connection to the same address, within `timeout`.
pub(crate) async fn reconnect(opts: &Opts, timeout: Duration) -> Result<Connected, MySqlError> {
    let opts = OptsBuilder::from_opts(opts.clone());
    // If this is dropped here, the driver's future owns the socket.
    match tokio::time::timeout(timeout, connect_to(opts.into())).await {
        Ok(outcome) => outcome,
        Err(_late) => Err(MySqlError::TimedOut { what: "connecting", after: timeout }),
    }
}

/// Connects to one address, and refuses a read-only server if a writable one is required.
async fn attempt(settings: &Settings, opts: Opts) -> Result<Connected, MySqlError> {
    let connected = connect_to(opts).await?;
    if settings.require_writable && connected.info.read_only {
        return Err(MySqlError::ReadOnly);
    }
    Ok(connected)
}

/// Connects and queries what the server says about itself.
async fn connect_to(opts: Opts) -> Result<Connected, MySqlError> {
    let mut conn = Conn::new(opts.clone()).await?;
    let info = ServerInfo::query(&mut conn).await?;
    Ok(Connected { conn, info, opts })
}

/// Resolves the host name to its addresses.
async fn resolve(opts: &Opts) -> Result<Vec<SocketAddr>, MySqlError> {
    let port = opts.tcp_port();
    if let Some(ips) = opts.resolved_ips() {
        return Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect());
    }
    // In a URL, IPv6 addresses are in brackets.
    let host = opts.ip_or_hostname().trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, port)).await.map_err(mysql_async::Error::from)?;
    Ok(found.collect())
}

/// Restricts the options to one address. The name is kept for verifying the certificate.
fn pin(opts: &Opts, ip: IpAddr) -> Opts {
    OptsBuilder::from_opts(opts.clone()).resolved_ips(Some([ip])).into()
}
