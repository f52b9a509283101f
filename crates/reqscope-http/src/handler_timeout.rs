use std::error::Error;
use std::fmt;
use std::time::Duration;

use reqscope::context::Label;

/// Why a front end answered with a 503: the handler exceeded the [timeout](crate::Policy::timeout). It is in the
/// extensions of that response, for a layer further out that logs or counts it, or sends another response.
///
/// With the feature `tracing` it is also a WARN event with target `reqscope::scope`.
///
/// It cannot say what the handler was waiting for, because the handler was dropped with everything that it waited for.
/// Set the timeouts of what it calls below that of the handler, such as
/// [`acquire_timeout`](reqscope::pool::PoolBuilder::acquire_timeout) of a pool: a handler that waits for a connection
/// then gets an error in time, which names the one that holds the connections.
///
/// # Examples
///
/// A layer that counts requests that were cut:
///
/// ```
/// use http::Response;
/// use reqscope_http::HandlerTimeout;
///
/// fn log<B>(response: Response<B>) -> Response<B> {
///     if let Some(timeout) = response.extensions().get::<HandlerTimeout>() {
///         // the handler of PUT /orders/{id} was dropped after 10.0 s, its timeout is 10.0 s; …
///         eprintln!("{timeout}");
///     }
///     response
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerTimeout {
    pub(crate) label: Option<Label>,
    pub(crate) timeout: Duration,
    pub(crate) elapsed: Duration,
}

impl HandlerTimeout {
    /// Returns the label of the request, if it has one.
    pub fn label(&self) -> Option<&Label> {
        self.label.as_ref()
    }

    /// Returns the timeout that was set.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the time from the start of the request until its handler was dropped. It is longer than the timeout if the
    /// handler blocked its thread, or the runtime was overloaded.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

impl fmt::Display for HandlerTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handler")?;
        if let Some(label) = &self.label {
            write!(f, " of {label}")?;
        }
        write!(
            f,
            " was dropped after {:.1} s, its timeout is {:.1} s; set the timeouts of what it waits for below that, so \
             that it gets their errors",
            self.elapsed.as_secs_f64(),
            self.timeout.as_secs_f64(),
        )
    }
}

impl Error for HandlerTimeout {}
