use std::error::Error;
use std::io;
use std::sync::Arc;

use reqscope::stats::DrainReport;
use tokio::task::JoinError;

use crate::RequestLine;

/// What [`serve`](crate::serve) did, and how its end went.
///
/// A shutdown returns as soon as nothing is left to wait for: no connection, no handler, no open scope, no release.
/// Which of its two deadlines it had to wait for, and for whom, is told by the last fields:
///
/// | | |
/// |---|---|
/// | [`is_clean`](ServeReport::is_clean) | it ended before any deadline |
/// | `cut` is not 0 | the [`request_grace`](crate::Serve::request_grace) passed; [`ServeEvent::RequestCut`] named the requests |
/// | `stuck`, `upgraded` or what `drained` has left is not 0 | the [`release_grace`](crate::Serve::release_grace) passed, too |
/// | `drained.abandoned` is not 0 | a release hung or had no time; [`Observer::abandoned`](reqscope::Observer::abandoned) named its resource and who took it |
///
/// # Examples
///
/// At the end of `main`:
///
/// ```
/// use reqscope_hyper::ServeReport;
/// use std::process::ExitCode;
///
/// fn farewell(report: &ServeReport) -> ExitCode {
///     eprintln!("{} connections, {} clients hung up", report.connections, report.hung_up);
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
    /// Connections that were accepted.
    pub connections: u64,
    /// Those among them whose peer went before all was said: seen by the disconnect watch, or by hyper where that
    /// was reading or writing just then.
    pub hung_up: u64,
    /// Those whose [`Handshake`](crate::Handshake) failed or took too long.
    pub handshakes_failed: u64,
    /// Those that hyper gave up on: broken HTTP, a first request that did not come, a service or a body that failed.
    pub failed: u64,
    /// Those that a handler's panic took down. Only HTTP/1 is counted: HTTP/2 loses the one request, not the
    /// connection.
    pub panicked: u64,
    /// Failed accepts, and connections that could not be watched.
    pub accept_errors: u64,
    /// Connections that had still not ended when the time for requests was over, and were cut, upgraded ones too.
    pub cut: u64,
    /// Handlers that still run, though they were dropped or should have been: they block their thread.
    pub stuck: u64,
    /// Upgraded connections that their owners still keep, though nothing can be read from them or written to them.
    pub upgraded: u64,
    /// What became of the open scopes and the pending releases, from the signal to shut down on.
    pub drained: DrainReport,
}

impl ServeReport {
    /// Nothing was cut or abandoned, and nothing is left.
    pub fn is_clean(&self) -> bool {
        self.cut == 0 && self.stuck == 0 && self.upgraded == 0 && self.drained.is_clean()
    }
}

/// What went wrong where no caller could be told. The server goes on.
///
/// Heard by [`Serve::on_event`](crate::Serve::on_event).
///
/// ```
/// use reqscope_hyper::ServeEvent;
///
/// fn log(event: ServeEvent<'_>) {
///     match event {
///         ServeEvent::AcceptFailed(error) => eprintln!("cannot accept: {error}"),
///         ServeEvent::HandshakeFailed(error) => eprintln!("no handshake: {error}"),
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
    /// A connection ended in an error: broken HTTP, a first request that did not come, a service or a body that failed.
    /// That a client hangs up is none.
    ConnectionFailed(&'a (dyn Error + Send + Sync + 'static)),
    /// The server shuts down, and this request's handler has not returned in the time for that. It is dropped now.
    RequestCut(&'a RequestLine),
    /// The server has shut down, and this request's handler still runs: it blocks its thread, so that it could not be
    /// dropped. What it holds is released when it returns, if the process lives so long.
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
    /// hyper gave up: malformed HTTP, a first request that did not arrive in time, a service or a body that failed.
    Failed(Box<dyn Error + Send + Sync>),
}

/// Counts how connections ended, and tells of those that ended badly.
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

    pub(crate) fn accepted(&mut self) {
        self.connections += 1;
    }

    pub(crate) fn accept_failed(&mut self, error: &io::Error) {
        self.accept_errors += 1;
        (self.on_event)(ServeEvent::AcceptFailed(error));
    }

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
            Err(error) if error.is_panic() => self.panicked += 1,
            Err(_cancelled) => self.cut += 1,
        }
    }

    /// Connections that no task is left for that could say so.
    pub(crate) fn cut(&mut self, more: u64) {
        self.cut += more;
    }

    /// The account at the end.
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
