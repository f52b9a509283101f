use std::error::Error;
use std::io;
use std::mem;
use std::sync::Arc;

use reqscope::stats::DrainReport;
use tokio::task::JoinError;

use crate::RequestLine;

/// What [`serve`](crate::serve) did, and how its shutdown went.
///
/// The server returns as soon as nothing is left to wait for: no connection, handler, open scope or release. The last
/// fields show which of the two deadlines of the shutdown were reached, and why:
///
/// | field | meaning |
/// |---|---|
/// | [`is_clean`](ServeReport::is_clean) | no deadline was reached |
/// | `cut` is not 0 | the [`request_grace`](crate::Serve::request_grace) elapsed; [`ServeEvent::RequestCut`] named the requests |
/// | `stuck`, `upgraded`, or a number of leftovers in `drained` is not 0 | the [`release_grace`](crate::Serve::release_grace) elapsed too |
/// | `drained.abandoned` is not 0 | a release hung or had no time; [`Observer::abandoned`](reqscope::Observer::abandoned) named its resource and the line that acquired it |
///
/// # Examples
///
/// At the end of `main`:
///
/// ```
/// use reqscope_hyper::ServeReport;
/// use std::process::ExitCode;
///
/// fn exit_code(report: &ServeReport) -> ExitCode {
///     eprintln!("{} connections, {} clients disconnected early", report.connections, report.hung_up);
///     if report.is_clean() {
///         return ExitCode::SUCCESS;
///     }
///     eprintln!("{} connections cut, {} handles abandoned", report.cut, report.drained.abandoned);
///     ExitCode::FAILURE
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeReport {
    /// The number of connections that were accepted.
    pub connections: u64,
    /// The number of connections whose peer disconnected early, as noticed by the disconnect watch, or by hyper while
    /// it was reading or writing.
    pub hung_up: u64,
    /// The number of connections whose [`Handshake`](crate::Handshake) failed or took too long.
    pub handshakes_failed: u64,
    /// The number of connections that hyper ended with an error: malformed HTTP, a first request that did not arrive in
    /// time, a service or a body that failed.
    pub failed: u64,
    /// The number of HTTP/1 connections that ended because a handler panicked. An HTTP/2 connection loses only the
    /// request and continues.
    pub panicked: u64,
    /// The number of failed accepts, and of connections that could not be watched.
    pub accept_errors: u64,
    /// The number of connections, upgraded ones included, that had not ended within the
    /// [`request_grace`](crate::Serve::request_grace) and were cut.
    pub cut: u64,
    /// The number of handlers that are still running, because they block their thread and cannot be dropped.
    pub stuck: u64,
    /// The number of upgraded connections that their owners have not dropped, although reads and writes on them fail.
    pub upgraded: u64,
    /// What was released and abandoned after the shutdown signal, and what is left.
    pub drained: DrainReport,
}

impl ServeReport {
    /// Returns whether nothing was cut or abandoned, and nothing is left.
    pub fn is_clean(&self) -> bool {
        self.cut == 0 && self.stuck == 0 && self.upgraded == 0 && self.drained.is_clean()
    }
}

/// A failure that is not returned to any caller, reported to [`Serve::on_event`](crate::Serve::on_event). The server
/// continues.
///
/// # Examples
///
/// ```
/// use reqscope_hyper::ServeEvent;
///
/// fn log(event: ServeEvent<'_>) {
///     match event {
///         ServeEvent::AcceptFailed(error) => eprintln!("cannot accept: {error}"),
///         ServeEvent::HandshakeFailed(error) => eprintln!("the handshake failed: {error}"),
///         ServeEvent::ConnectionFailed(error) => eprintln!("a connection failed: {error}"),
///         ServeEvent::RequestCut(request) => eprintln!("{request} took too long to end"),
///         ServeEvent::RequestStuck(request) => eprintln!("{request} blocks its thread"),
///         _ => {}
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeEvent<'a> {
    /// A connection could not be accepted or watched.
    AcceptFailed(&'a io::Error),
    /// A connection's handshake failed or took too long.
    HandshakeFailed(&'a io::Error),
    /// A connection ended with an error: malformed HTTP, a first request that did not arrive in time, a service or a
    /// body that failed. A client that disconnects is not an error.
    ///
    /// Over HTTP/2 a service or a body that fails ends only its stream, and hyper does not report it. A
    /// [`LeaseBody`](crate::LeaseBody) that fails is an event of the feature `tracing` over both.
    ConnectionFailed(&'a (dyn Error + Send + Sync + 'static)),
    /// The handler of this request did not return within the [`request_grace`](crate::Serve::request_grace) of a
    /// shutdown, and is dropped now.
    RequestCut(&'a RequestLine),
    /// The server has shut down but the handler of this request is still running: the handler blocks its thread, so it
    /// could not be dropped. Its handles are released when it returns, if the process is still running.
    RequestStuck(&'a RequestLine),
}

pub(crate) type OnEvent = Arc<dyn Fn(ServeEvent<'_>) + Send + Sync>;

/// How a connection ended.
pub(crate) enum Ended {
    /// Both sides sent everything they had to send.
    Finished,
    /// The peer disconnected, as the watch or hyper noticed.
    HungUp,
    /// The handshake failed or took too long, so no HTTP was exchanged.
    HandshakeFailed(io::Error),
    /// hyper returned an error: malformed HTTP, a first request that did not arrive in time, a service or a body that
    /// failed.
    Failed(Box<dyn Error + Send + Sync>),
}

/// Counts how connections ended, and reports those that failed.
pub(crate) struct Tally {
    connections: u64,
    hung_up: u64,
    handshakes_failed: u64,
    failed: u64,
    panicked: u64,
    accept_errors: u64,
    cut: u64,
    on_event: OnEvent,
}

impl Tally {
    pub(crate) fn new(on_event: OnEvent) -> Self {
        Tally {
            connections: 0,
            hung_up: 0,
            handshakes_failed: 0,
            failed: 0,
            panicked: 0,
            accept_errors: 0,
            cut: 0,
            on_event,
        }
    }

    /// Counts an accepted connection.
    pub(crate) fn accepted(&mut self) {
        self.connections += 1;
    }

    /// Counts and reports a failed accept.
    pub(crate) fn accept_failed(&mut self, error: &io::Error) {
        self.accept_errors += 1;
        (self.on_event)(ServeEvent::AcceptFailed(error));
    }

    /// Counts a connection that has ended, and reports it if it failed.
    pub(crate) fn ended(&mut self, ended: Result<Ended, JoinError>) {
        match ended {
            Ok(Ended::Finished) => (),
            Ok(Ended::HungUp) => self.hung_up += 1,
            Ok(Ended::HandshakeFailed(error)) => {
                self.handshakes_failed += 1;
                (self.on_event)(ServeEvent::HandshakeFailed(&error));
            }
            Ok(Ended::Failed(error)) => {
                self.failed += 1;
                (self.on_event)(ServeEvent::ConnectionFailed(&*error));
            }
            Err(error) => match error.try_into_panic() {
                Ok(payload) => {
                    self.panicked += 1;
                    // A handler's own type, whose drop may panic as well. That must not end the accept loop.
                    mem::forget(payload);
                }
                Err(_cancelled) => self.cut += 1,
            },
        }
    }

    /// Counts cut connections whose task does not return.
    pub(crate) fn cut(&mut self, more: u64) {
        self.cut += more;
    }

    /// Creates the report.
    pub(crate) fn report(self, stuck: u64, upgraded: u64, drained: DrainReport) -> ServeReport {
        let Tally { connections, hung_up, handshakes_failed, failed, panicked, accept_errors, cut, on_event: _ } =
            self;
        ServeReport {
            connections,
            hung_up,
            handshakes_failed,
            failed,
            panicked,
            accept_errors,
            cut,
            stuck,
            upgraded,
            drained,
        }
    }
}
