use std::error::Error;
use std::io;
use std::sync::Arc;

use reqscope::DrainReport;
use tokio::task::JoinError;

use crate::connection::Ended;

/// What [`serve`](crate::serve) did, and how its end went.
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
    /// Those among them whose peer was seen to go by the disconnect watch.
    pub hung_up: u64,
    /// Those that hyper gave up on: broken HTTP, a broken pipe, a service or a body that failed.
    pub failed: u64,
    /// Those that a handler's panic took down. Only HTTP/1 is counted: HTTP/2 loses the one request, not the
    /// connection.
    pub panicked: u64,
    /// Those that had still not ended when the grace was over, and were cut.
    pub cut: u64,
    /// Failed accepts, and connections that could not be watched.
    pub accept_errors: u64,
    /// What became of the open scopes and the pending releases.
    pub drained: DrainReport,
}

impl ServeReport {
    /// Nothing was cut, abandoned or still open at the end.
    pub fn is_clean(&self) -> bool {
        self.cut == 0 && self.drained.is_clean()
    }
}

/// What went wrong where no caller could be told. The server goes on.
///
/// Heard by [`Serve::on_trouble`](crate::Serve::on_trouble).
///
/// ```
/// use reqscope_hyper::Trouble;
///
/// fn log(trouble: Trouble<'_>) {
///     match trouble {
///         Trouble::Accept(error) => eprintln!("cannot accept: {error}"),
///         Trouble::Connection(error) => eprintln!("a connection failed: {error}"),
///         _ => {}
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Trouble<'a> {
    /// A connection could not be accepted or watched.
    Accept(&'a io::Error),
    /// A connection ended in an error: broken HTTP, a broken pipe, a service or a body that failed.
    Connection(&'a (dyn Error + Send + Sync + 'static)),
}

pub(crate) type Hear = Arc<dyn Fn(Trouble<'_>) + Send + Sync>;

/// Counts how connections ended, and tells of those that ended badly.
pub(crate) struct Tally {
    connections: u64,
    hung_up: u64,
    failed: u64,
    panicked: u64,
    cut: u64,
    accept_errors: u64,
    hear: Hear,
}

impl Tally {
    pub(crate) fn new(hear: Hear) -> Self {
        Tally { connections: 0, hung_up: 0, failed: 0, panicked: 0, cut: 0, accept_errors: 0, hear }
    }

    pub(crate) fn accepted(&mut self) {
        self.connections += 1;
    }

    pub(crate) fn accept_failed(&mut self, error: &io::Error) {
        self.accept_errors += 1;
        (self.hear)(Trouble::Accept(error));
    }

    pub(crate) fn ended(&mut self, ended: Result<Ended, JoinError>) {
        match ended {
            Ok(Ended::Finished) => (),
            Ok(Ended::HungUp) => self.hung_up += 1,
            Ok(Ended::Failed(error)) => {
                self.failed += 1;
                (self.hear)(Trouble::Connection(&*error));
            }
            Err(error) if error.is_panic() => self.panicked += 1,
            Err(_cancelled) => self.cut += 1,
        }
    }

    /// The account at the end, when so many connections would not even be cut.
    pub(crate) fn report(self, stuck: usize, drained: DrainReport) -> ServeReport {
        let Tally { connections, hung_up, failed, panicked, cut, accept_errors, hear: _ } = self;
        ServeReport { connections, hung_up, failed, panicked, cut: cut + stuck as u64, accept_errors, drained }
    }
}
