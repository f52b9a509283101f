use std::error::Error as StdError;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use std::{fmt, io};

use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

/// Resolves a name, each time anew, and connects to its addresses one after the other until one succeeds, all of it
/// within `limit`.
///
/// Each address gets an equal share of the time that is left: one that drops packets must not use up the time of the
/// others. `connect` should do everything that makes a connection useful, such as TLS, authentication and the look for a
/// server that can be written to.
///
/// An IPv6 address may be in brackets, as in a URL.
///
/// ```
/// use reqscope_driver::{DialError, dial};
/// use std::time::Duration;
/// use tokio::net::{TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), DialError<std::io::Error>> {
/// # let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
/// # let port = server.local_addr().unwrap().port();
/// let stream = dial("localhost", port, Duration::from_secs(5), TcpStream::connect).await?;
/// # drop(stream);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// See [`DialError`].
///
/// # Cancel safety
///
/// If the future is dropped, so is the attempt to connect.
pub async fn dial<T, E, F>(
    host: &str,
    port: u16,
    limit: Duration,
    connect: impl FnMut(SocketAddr) -> F,
) -> Result<T, DialError<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let until = after(limit);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match timeout_at(until, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => dial_until(addresses.collect(), until, limit, connect).await,
        Ok(Err(error)) => Err(DialError::Name(Cause::Failed(error))),
        Err(_late) => Err(DialError::Name(Cause::TimedOut(limit))),
    }
}

/// Does the same with addresses that are known.
///
/// ```
/// use reqscope_driver::{DialError, dial_addresses};
/// use std::time::Duration;
/// use tokio::net::{TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), DialError<std::io::Error>> {
/// # let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
/// let addresses = vec![server.local_addr().unwrap()];
/// let stream = dial_addresses(addresses, Duration::from_secs(5), TcpStream::connect).await?;
/// # drop(stream);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// See [`DialError`].
///
/// # Cancel safety
///
/// If the future is dropped, so is the attempt to connect.
pub async fn dial_addresses<T, E, F>(
    addresses: Vec<SocketAddr>,
    limit: Duration,
    connect: impl FnMut(SocketAddr) -> F,
) -> Result<T, DialError<E>>
where
    F: Future<Output = Result<T, E>>,
{
    dial_until(addresses, after(limit), limit, connect).await
}

async fn dial_until<T, E, F>(
    addresses: Vec<SocketAddr>,
    until: Instant,
    limit: Duration,
    mut connect: impl FnMut(SocketAddr) -> F,
) -> Result<T, DialError<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let tried = addresses.len();
    let none = io::Error::new(io::ErrorKind::NotFound, "the name resolves to no address");
    let mut outcome = Err(DialError::Name(Cause::Failed(none)));
    for (done, address) in addresses.into_iter().enumerate() {
        let now = Instant::now();
        let share = until.saturating_duration_since(now) / u32::try_from(tried - done).unwrap_or(u32::MAX);
        // If this is dropped here, the half-made connection is dropped with its future.
        let cause = match timeout_at(now + share, connect(address)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => Cause::Failed(error),
            // A single address had the whole time, minus what resolving the name took.
            Err(_late) => Cause::TimedOut(if tried == 1 { limit } else { share }),
        };
        outcome = Err(DialError::Connect { tried, last: address, cause });
    }
    outcome
}

/// Why [`dial`] has made no connection.
///
/// ```
/// use reqscope_driver::{Cause, DialError};
/// use std::io;
///
/// fn refused(error: &DialError<io::Error>) -> bool {
///     let DialError::Connect { cause: Cause::Failed(cause), .. } = error else { return false };
///     cause.kind() == io::ErrorKind::ConnectionRefused
/// }
/// # assert!(!refused(&DialError::Name(Cause::TimedOut(std::time::Duration::ZERO))));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError<E> {
    /// The name could not be resolved, or has no address.
    Name(Cause<io::Error>),
    /// No address could be connected to.
    Connect {
        /// The number of addresses.
        tried: usize,
        /// The last one.
        last: SocketAddr,
        /// What happened there.
        cause: Cause<E>,
    },
}

/// Why a name could not be resolved, or an address not connected to.
///
/// ```
/// use reqscope_driver::Cause;
/// use std::time::Duration;
///
/// let silent = Cause::<std::io::Error>::TimedOut(Duration::from_secs(5));
/// assert!(matches!(silent, Cause::TimedOut(after) if after.as_secs() == 5));
/// ```
#[derive(Debug)]
pub enum Cause<E> {
    /// The attempt failed.
    Failed(E),
    /// It took longer than the limit, or than its share of the time.
    TimedOut(Duration),
}

impl<E> fmt::Display for DialError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Name(_) => f.write_str("the name of the server could not be resolved"),
            DialError::Connect { tried: 1, last, .. } => write!(f, "could not connect to {last}"),
            DialError::Connect { tried, last, .. } => {
                write!(f, "could not connect to any of {tried} addresses, the last of which was {last}")
            }
        }?;
        match self {
            DialError::Name(Cause::TimedOut(after)) | DialError::Connect { cause: Cause::TimedOut(after), .. } => {
                write!(f, " within {after:?}")
            }
            _ => Ok(()),
        }
    }
}

impl<E: StdError + 'static> StdError for DialError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            DialError::Name(Cause::Failed(error)) => Some(error),
            DialError::Connect { cause: Cause::Failed(error), .. } => Some(error),
            DialError::Name(Cause::TimedOut(_)) | DialError::Connect { cause: Cause::TimedOut(_), .. } => None,
        }
    }
}

/// Returns the time after `limit` from now. A limit that overflows the clock becomes 30 years.
pub(crate) fn after(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or_else(|| now + Duration::from_secs(60 * 60 * 24 * 365 * 30))
}
