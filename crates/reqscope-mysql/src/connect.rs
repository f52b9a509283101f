//! Makes a connection: every address that the name stands for, under one deadline.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::time::{Instant, timeout_at};

use crate::MySqlError;
use crate::server::ServerInfo;
use crate::settings::{Settings, deadline};

/// A connection that has just been made, and what it takes to make another one to the same place.
pub(crate) struct Connected {
    pub(crate) conn: Conn,
    pub(crate) info: ServerInfo,
    pub(crate) opts: Opts,
}

/// Resolves the name, anew each time, and tries what it stands for, one after the other.
///
/// # Cancel safety
///
/// What is half-made is the driver's, which closes it.
pub(crate) async fn connect(settings: &Settings) -> Result<Connected, MySqlError> {
    let deadline = deadline(settings.connect_timeout);
    let late = |_elapsed| MySqlError::TimedOut { what: "connecting", after: settings.connect_timeout };
    if settings.opts.socket().is_some() {
        // Dropped here: the driver's future owns the socket.
        return timeout_at(deadline, attempt(settings, settings.opts.clone())).await.map_err(late)?;
    }
    let addresses = timeout_at(deadline, resolve(&settings.opts)).await.map_err(late)??;
    let tried = addresses.len();
    let mut outcome = Err(MySqlError::from(mysql_async::Error::from(io::Error::new(
        io::ErrorKind::NotFound,
        "the name stands for no address",
    ))));
    for (done, address) in addresses.into_iter().enumerate() {
        // Each has an equal share of what is left: one that swallows packets must not use up the others' time.
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(tried - done).unwrap_or(u32::MAX);
        // Dropped here: the driver's future owns the socket.
        let tried_here = timeout_at(now + share, attempt(settings, pin(&settings.opts, address.ip()))).await;
        // An only address has had all of it, whatever the name took.
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

/// Another connection to the very place that one leads to, within `timeout`.
pub(crate) async fn reconnect(opts: &Opts, timeout: Duration) -> Result<Connected, MySqlError> {
    let opts = OptsBuilder::from_opts(opts.clone());
    // Dropped here: the driver's future owns the socket.
    match tokio::time::timeout(timeout, connect_to(opts.into())).await {
        Ok(outcome) => outcome,
        Err(_late) => Err(MySqlError::TimedOut { what: "connecting", after: timeout }),
    }
}

async fn attempt(settings: &Settings, opts: Opts) -> Result<Connected, MySqlError> {
    let connected = connect_to(opts).await?;
    if settings.require_writable && connected.info.read_only {
        return Err(MySqlError::ReadOnly);
    }
    Ok(connected)
}

async fn connect_to(opts: Opts) -> Result<Connected, MySqlError> {
    let mut conn = Conn::new(opts.clone()).await?;
    let info = ServerInfo::query(&mut conn).await?;
    Ok(Connected { conn, info, opts })
}

async fn resolve(opts: &Opts) -> Result<Vec<SocketAddr>, MySqlError> {
    let port = opts.tcp_port();
    if let Some(ips) = opts.resolved_ips() {
        return Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect());
    }
    // A URL has its IPv6 addresses in brackets.
    let host = opts.ip_or_hostname().trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, port)).await.map_err(mysql_async::Error::from)?;
    Ok(found.collect())
}

/// The same options for one address; the name stays, for the certificate.
fn pin(opts: &Opts, ip: IpAddr) -> Opts {
    OptsBuilder::from_opts(opts.clone()).resolved_ips(Some([ip])).into()
}
