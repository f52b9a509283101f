use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a private server did not do what it was asked for.
///
/// A missing binary is told with its name, where it was looked for, the variable that says where it is, and the Debian
/// package that has it. A server that did not start is told with the end of its log, because its folder is gone.
/// `Debug` says the same in as many lines, because it is what `unwrap` shows.
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
    /// No file of this name anywhere.
    Missing {
        names: String,
        searched: String,
        variable: &'static str,
        package: &'static str,
    },
    /// The variable names something else.
    Misnamed {
        variable: &'static str,
        path: PathBuf,
        package: &'static str,
    },
    /// It is of another make than its name says.
    Foreign {
        path: PathBuf,
        says: String,
        variable: &'static str,
        package: &'static str,
    },
    /// Servers refuse to run as root, and there is nobody else to run as.
    NoUser {
        name: &'static str,
        package: &'static str,
    },
    /// A program ended before it had done what it was there for.
    Ended {
        program: String,
        status: ExitStatus,
        said: String,
    },
    /// It took too long, and was killed.
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
    /// The server was dropped meanwhile.
    Dropped,
    Io {
        doing: String,
        source: io::Error,
    },
}

impl ServerError {
    /// Is a binary not there, or nobody to run it as? Then no server of this kind will start on this machine before
    /// something is installed or a variable set.
    pub fn is_missing(&self) -> bool {
        matches!(
            *self.kind,
            Kind::Missing { .. } | Kind::Misnamed { .. } | Kind::Foreign { .. } | Kind::NoUser { .. }
        )
    }

    /// Did it take too long? What hung was killed.
    pub fn is_timeout(&self) -> bool {
        matches!(*self.kind, Kind::Late { .. })
    }

    /// Has somebody else the port?
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
                "{} says that it is `{says}`: set {variable} to the path of another, or install Debian's package \
                 {package}",
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
            Kind::Refused { said } => write!(f, "the server did not do it: {said}"),
            Kind::NotRunning => f.write_str("the server does not run"),
            Kind::Dropped => f.write_str("the server was dropped meanwhile"),
            Kind::Io { doing, .. } => write!(f, "cannot {doing}"),
        }
    }
}

fn log_tail(f: &mut fmt::Formatter<'_>, said: &str) -> fmt::Result {
    if said.is_empty() { f.write_str(", and said nothing") } else { write!(f, ", and said at last:\n{said}") }
}

impl Error for ServerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.kind {
            Kind::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
