//! Drives one connection, from its handshake to its end.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::select;
use tokio::time::{Instant, timeout};

use crate::phase::{Phase, reached};
use crate::report::Ended;
use crate::settings::Settings;
use crate::slot::ConnectionSlot;
use crate::socket::Socket;
use crate::time::after;
use crate::tracked::TrackedService;
use crate::{Connection, DisconnectWatch, Handshake};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// An accepted connection.
pub(crate) struct Accepted<Io, P> {
    pub(crate) io: Io,
    pub(crate) peer: P,
    pub(crate) watch: DisconnectWatch,
    pub(crate) slot: Arc<ConnectionSlot>,
}

/// Serves one connection until it ends, its peer disconnects, or the server stops and the requests in flight are
/// answered.
///
/// # Cancel safety
///
/// Dropping the future drops the connection and its handlers. HTTP/2 runs handlers in tasks of their own, which notice
/// the lost connection and drop the handlers a moment later.
pub(crate) async fn drive<Io, P, H, S, B>(
    accepted: Accepted<Io, P>,
    service: S,
    handshake: H,
    settings: Arc<Settings>,
) -> Ended
where
    P: Send + Sync + 'static,
    H: Handshake<Io>,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    // Declared first, dropped last: the peer sees the close after the handler was dropped, and the next connection is
    // accepted when the descriptors are free.
    let Accepted { io, peer, mut watch, slot } = accepted;
    let first_request = after(settings.first_request);
    let mut extensions = Extensions::new();
    extensions.insert(Connection::new(peer, slot.phase()));

    // The handshake owns the socket: if its future is dropped here, the socket is closed.
    let shaken = select! {
        biased;
        shaken = timeout(settings.handshake, handshake.handshake(io, &mut extensions)) => shaken,
        () = watch.gone() => return Ended::HungUp,
        () = reached(slot.phase(), Phase::Stopping) => return Ended::Finished,
    };
    let io = match shaken {
        Ok(Ok(io)) => io,
        Ok(Err(error)) => return Ended::HandshakeFailed(error),
        Err(_elapsed) => return Ended::HandshakeFailed(timed_out("handshake", settings.handshake)),
    };

    let io = TokioIo::new(Socket::new(io, Arc::clone(&slot)));
    let service = TrackedService::new(service, Arc::clone(&slot), extensions);
    let ended = serve_http(io, service, &mut watch, &slot, first_request, &settings).await;
    if let Ended::Finished = ended {
        slot.http_ended();
    }
    ended
}

/// Serves HTTP on a connection whose handshake is done.
async fn serve_http<Io, S, B>(
    io: TokioIo<Socket<Io>>,
    service: TrackedService<S>,
    watch: &mut DisconnectWatch,
    slot: &ConnectionSlot,
    first_request: Instant,
    settings: &Settings,
) -> Ended
where
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut connection = pin!(settings.http.serve_connection_with_upgrades(io, service));
    let mut too_late = pin!(tokio::time::sleep_until(first_request));
    let mut stop = pin!(reached(slot.phase(), Phase::Stopping));
    let (mut waited, mut stopping) = (false, false);
    loop {
        select! {
            // The connection is polled first: as in plain hyper, a request that arrived together with the close is
            // polled once, and a response that needs no waiting is written.
            biased;
            ended = connection.as_mut() => return match ended {
                Ok(()) => Ended::Finished,
                Err(error) if is_idle_end(&error, slot, stopping) => Ended::Finished,
                Err(error) if is_disconnect(&error) => Ended::HungUp,
                Err(error) => Ended::Failed(error),
            },
            () = watch.gone() => return Ended::HungUp,
            () = too_late.as_mut(), if !waited => {
                waited = true;
                if !slot.was_called() {
                    return Ended::Failed(timed_out("request", settings.first_request).into());
                }
            }
            () = stop.as_mut(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Returns whether the error only means that a connection waiting for a request was closed.
fn is_idle_end(error: &BoxError, slot: &ConnectionSlot, stopping: bool) -> bool {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        // The timeout for the head of a request. The timeouts of HTTP/2 have a source.
        return error.is_timeout() && error.source().is_none() && slot.was_called();
    }
    // The client had not sent its first bytes yet.
    let error = error.downcast_ref::<io::Error>();
    stopping && error.is_some_and(|error| error.kind() == io::ErrorKind::Interrupted)
}

/// Returns whether the connection's own socket failed, as opposed to HTTP or a socket that the service uses.
fn is_disconnect(error: &BoxError) -> bool {
    use io::ErrorKind::*;
    let source = match error.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_user() => return false,
        Some(error) if error.is_incomplete_message() => return true,
        Some(error) => error.source().and_then(|source| source.downcast_ref()),
        None => error.downcast_ref::<io::Error>(),
    };
    source.is_some_and(|error| {
        let kind = error.kind();
        matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut | UnexpectedEof)
    })
}

/// Returns the error for a handshake or a first request that did not arrive in time.
fn timed_out(what: &str, limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no {what} within {limit:?} of accepting the connection"))
}
