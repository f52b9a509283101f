use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;

use crate::Watch;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
pub(crate) type Http = auto::Builder<TokioExecutor>;

/// How a connection ended.
pub(crate) enum Ended {
    /// Both sides had said all.
    Finished,
    /// The watch saw the peer go.
    HungUp,
    /// hyper gave up: broken HTTP, a broken pipe, a service or a body that failed.
    Failed(BoxError),
}

/// What a connection holds besides its socket.
pub(crate) struct Keep {
    pub(crate) watch: Watch,
    pub(crate) permit: OwnedSemaphorePermit,
    /// How long its first request may take to come.
    pub(crate) first_request: Duration,
}

/// Serves one connection until it ends, its peer has gone, or it was told to `stop` and has answered what it had
/// begun.
///
/// # Cancel safety
///
/// Dropping it drops the connection and with it the handlers. HTTP/2 runs handlers in tasks of their own, which
/// see the lost connection and drop them a moment later.
pub(crate) async fn run<Io, S, B>(
    io: Io,
    service: S,
    http: Arc<Http>,
    keep: Keep,
    mut stop: watch::Receiver<bool>,
) -> Ended
where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    // Declared before the connection, so dropped after it: the peer sees the socket close when the handler is gone,
    // and the next connection is let in when the descriptors are free.
    let Keep { permit, mut watch, first_request } = keep;
    let _permit = permit;
    let called = Arc::new(AtomicBool::new(false));
    let service = Marking { inner: service, called: Arc::clone(&called) };
    let mut connection = pin!(http.serve_connection_with_upgrades(TokioIo::new(io), service));
    let mut too_late = pin!(sleep(first_request));
    let (mut waited, mut stopping) = (false, false);
    loop {
        select! {
            // The connection first: a request that came together with the close is still polled once, as hyper
            // does, and an answer that needs no waiting is still written.
            biased;
            ended = connection.as_mut() => return match ended {
                Ok(()) => Ended::Finished,
                Err(error) if stopping && was_idle(&error) => Ended::Finished,
                Err(error) => Ended::Failed(error),
            },
            () = watch.gone() => return Ended::HungUp,
            () = too_late.as_mut(), if !waited => {
                waited = true;
                if !called.load(Relaxed) {
                    return Ended::Failed(silent(first_request));
                }
            }
            _ = stop.changed(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A connection that was told to stop before it had sent its first bytes answers with this.
fn was_idle(error: &BoxError) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::Interrupted)
}

fn silent(first_request: Duration) -> BoxError {
    let error = format!("no request came within {first_request:?} of the connection");
    io::Error::new(io::ErrorKind::TimedOut, error).into()
}

/// A service that leaves a mark when it has been called.
struct Marking<S> {
    inner: S,
    called: Arc<AtomicBool>,
}

impl<S: Service<R>, R> Service<R> for Marking<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: R) -> S::Future {
        // Read by the task that polls the connection, which is the one that calls.
        self.called.store(true, Relaxed);
        self.inner.call(request)
    }
}
