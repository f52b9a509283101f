use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// The error of an operation on a private server.
///
/// The message for a missing binary has its name, where it was searched, the variable that sets its path, and the
/// Debian package that contains it. The message for a server that did not start has the end of its log, because its
/// folder is removed. `Debug` writes the same text, because `unwrap` shows it.
///
/// ```no_run
/// # async fn example() {
/// use reqscope_testkit::MariaDb;
///
/// match MariaDb::start().await {
///     Ok(server) => println!("{}", server.url()),
///     Err(error) if error.is_missing() => panic!("install it first: {error}"),
///     Err(error) => panic!("{error}"),
/// }
/// # }
/// ```
pub struct ServerError {
    kind: Box<Kind>,
}

pub(super) enum Kind {
    /// No file of this name was found.
    Missing {
        names: String,
        searched: String,
        variable: &'static str,
        package: &'static str,
    },
    /// The variable names something that is not executable.
    Misnamed {
        variable: &'static str,
        path: PathBuf,
        package: &'static str,
    },
    /// The program is not the one that its name suggests.
    Foreign {
        path: PathBuf,
        says: String,
        variable: &'static str,
        package: &'static str,
    },
    /// Servers refuse to run as root, and there is no other user to run it as.
    NoUser {
        name: &'static str,
        package: &'static str,
    },
    /// A program exited early.
    Ended {
        program: String,
        status: ExitStatus,
        said: String,
    },
    /// An operation took too long, and the process was killed.
    Late {
        what: String,
        deadline: Duration,
        said: String,
    },
    /// The server has refused a statement, or could not be reached.
    Refused {
        said: String,
    },
    /// There is no process to signal.
    NotRunning,
    /// The server was dropped.
    Dropped,
    Io {
        doing: String,
        source: io::Error,
    },
}

impl ServerError {
    /// Returns whether a binary, or the user to run it as, is missing. No such server starts on this machine before
    /// something is installed or a variable is set.
    pub fn is_missing(&self) -> bool {
        matches!(
            *self.kind,
            Kind::Missing { .. } | Kind::Misnamed { .. } | Kind::Foreign { .. } | Kind::NoUser { .. }
        )
    }

    /// Returns whether an operation took too long. The process that hung was killed.
    pub fn is_timeout(&self) -> bool {
        matches!(*self.kind, Kind::Late { .. })
    }

    /// Returns whether the port was in use.
    pub(super) fn is_taken_port(&self) -> bool {
        matches!(&*self.kind, Kind::Ended { said, .. } if said.contains("Address already in use"))
    }

    pub(super) fn is_not_running(&self) -> bool {
        matches!(*self.kind, Kind::NotRunning)
    }

    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
        |source| Kind::Io { doing: doing.into(), source }.into()
    }
}

impl From<Kind> for ServerError {
    fn from(kind: Kind) -> Self {
        ServerError { kind: Box::new(kind) }
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source() {
            Some(source) => write!(f, "{self}: {source}"),
            None => write!(f, "{self}"),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.kind {
            Kind::Missing { names, searched, variable, package } => write!(
                f,
                "found no {names} in {searched}: set {variable} to its path, or install it (Debian's package {package})"
            ),
            Kind::Misnamed { variable, path, package } => write!(
                f,
                "{variable} is set to {}, which is no executable file: correct it, or unset it and install Debian's \
                 package {package}",
                path.display()
            ),
            Kind::Foreign { path, says, variable, package } => write!(
                f,
                "{} reports its version as `{says}`: set {variable} to the path of another, or install Debian's \
                 package {package}",
                path.display()
            ),
            Kind::NoUser { name, package } => write!(
                f,
                "the server must not run as root, and there is no user {name} to run it as (Debian's package \
                 {package} makes one)"
            ),
            Kind::Ended { program, status, said } => {
                write!(f, "{program} ended with {status}")?;
                log_tail(f, said)
            }
            Kind::Late { what, deadline, said } => {
                write!(f, "{what} took more than {deadline:?} and was killed")?;
                log_tail(f, said)
            }
            Kind::Refused { said } => write!(f, "the server refused: {said}"),
            Kind::NotRunning => f.write_str("the server is not running"),
            Kind::Dropped => f.write_str("the server was dropped"),
            Kind::Io { doing, .. } => write!(f, "cannot {doing}"),
        }
    }
}

fn log_tail(f: &mut fmt::Formatter<'_>, said: &str) -> fmt::Result {
    if said.is_empty() { f.write_str(", without any output") } else { write!(f, "; its last output:\n{said}") }
}

impl Error for ServerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.kind {
            Kind::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
