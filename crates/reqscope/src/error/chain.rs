use std::error::Error as StdError;
use std::fmt;

use super::class::MAX_LEVELS;
use crate::escape::Escaped;

/// Displays an error together with its sources: each level's text, separated by colons, in one line.
///
/// The `Display` of an [`Error`](crate::Error) shows its own level only, as that of most errors does. Use `Chain` where
/// one string is all there is: in a log line, in the answer of a status page.
///
/// A level is left out if the text before it contains its text, because some errors repeat their source in their own
/// message. At most 128 levels are looked at.
///
/// The text of a cause may come from a peer: from a database server, from a client whose input it quotes. Line breaks and
/// other control characters are escaped, so that no text can forge a line of a log. The `Display` of a single error
/// escapes nothing.
///
/// ```
/// use reqscope::Error;
/// use reqscope::error::{Chain, Stage};
/// use std::io;
///
/// let refused = io::Error::other("connection refused");
/// let error = Error::failed(refused).at(Stage::Acquiring);
/// assert_eq!(error.to_string(), "the resource failed while acquiring");
/// assert_eq!(Chain(&error).to_string(), "the resource failed while acquiring: connection refused");
///
/// let forged = io::Error::other("no row\nERROR forged");
/// assert_eq!(Chain(&forged).to_string(), r"no row\nERROR forged");
/// ```
///
/// An observer that logs failed releases:
///
/// ```
/// use reqscope::error::Chain;
/// use reqscope::observer::Subject;
/// use reqscope::{Exit, Observer};
///
/// struct Log;
///
/// impl Observer for Log {
///     fn release_failed(&self, of: Subject, exit: Exit, error: &(dyn std::error::Error + 'static)) {
///         eprintln!("release as {exit} of a handle taken at {}: {}", of.taken_at, Chain(error));
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a dyn StdError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        write!(f, "{}", Escaped(&shown))?;
        let mut level = self.0;
        for _ in 1..MAX_LEVELS {
            let Some(source) = level.source() else { break };
            let text = source.to_string();
            if !shown.contains(&text) {
                write!(f, ": {}", Escaped(&text))?;
                shown = text;
            }
            level = source;
        }
        Ok(())
    }
}
