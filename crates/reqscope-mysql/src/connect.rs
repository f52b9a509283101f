//! Makes a connection: tries all addresses of the name under one deadline.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder};
use reqscope_driver::{Cause, DialError, dial, dial_addresses};
use tokio::time::timeout;

use crate::MySqlError;
use crate::server::{ServerInfo, has_cluster};
use crate::settings::Settings;

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
    let Settings { opts, connect_timeout: limit, .. } = settings;
    let to = |address: SocketAddr| attempt(settings, pin(opts, address.ip()));
    // If this is dropped here, the driver's future owns the socket.
    let dialled = match (opts.socket(), opts.resolved_ips()) {
        (Some(_), _) => {
            let connected = timeout(*limit, attempt(settings, opts.clone())).await;
            return connected.unwrap_or(Err(MySqlError::TimedOut { what: "connecting", after: *limit }));
        }
        (None, Some(ips)) => {
            let addresses = ips.iter().map(|ip| SocketAddr::new(*ip, opts.tcp_port())).collect();
            dial_addresses(addresses, *limit, to).await
        }
        (None, None) => dial(opts.ip_or_hostname(), opts.tcp_port(), *limit, to).await,
    };
    dialled.map_err(|error| match error {
        DialError::Name(cause) => of_address(cause, |error| mysql_async::Error::from(error).into()),
        DialError::Connect { tried: 1, cause, .. } => of_address(cause, |error| error),
        DialError::Connect { tried, last, cause } => {
            MySqlError::Unreachable { tried, last, cause: Box::new(of_address(cause, |error| error)) }
        }
        other => mysql_async::Error::from(io::Error::other(other)).into(),
    })
}

/// Returns the error of a name or an address.
fn of_address<E>(cause: Cause<E>, failed: impl FnOnce(E) -> MySqlError) -> MySqlError {
    match cause {
        Cause::Failed(error) => failed(error),
        Cause::TimedOut(after) => MySqlError::TimedOut { what: "connecting", after },
    }
}

/// Makes another connection to the same address, within `limit`.
pub(crate) async fn reconnect(opts: &Opts, limit: Duration) -> Result<Connected, MySqlError> {
    let opts = OptsBuilder::from_opts(opts.clone());
    // If this is dropped here, the driver's future owns the socket.
    match timeout(limit, connect_to(opts.into())).await {
        Ok(outcome) => outcome,
        Err(_late) => Err(MySqlError::TimedOut { what: "connecting", after: limit }),
    }
}

/// Connects to one address, and refuses a read-only server if a writable one is required.
async fn attempt(settings: &Settings, opts: Opts) -> Result<Connected, MySqlError> {
    let mut connected = connect_to(opts).await?;
    if settings.require_writable && (connected.info.read_only || !has_cluster(&mut connected.conn).await?) {
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

/// Restricts the options to one address. The name is kept for verifying the certificate.
fn pin(opts: &Opts, ip: IpAddr) -> Opts {
    OptsBuilder::from_opts(opts.clone()).resolved_ips(Some([ip])).into()
}
