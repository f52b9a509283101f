//! Numbers that tie an answer of the database to its query.
use std::fmt;

use anyhow::Chain;

/// A number that is sent with one query, and must come back with its answer.
///
/// It is never 0, which an answer has where nothing was inserted.
#[derive(Clone, Copy)]
pub(crate) struct Nonce(pub(crate) u32);

/// The error of an answer that belongs to another query: all later answers of the connection are shifted, too.
#[derive(Debug)]
pub(crate) struct WrongAnswer;

impl Nonce {
    /// Draws a random one.
    pub(crate) fn draw() -> Nonce {
        Nonce(fastrand::u32(1..))
    }

    /// Checks that the answer has this number. `None` is an answer of another shape.
    pub(crate) fn check(self, answered: Option<u64>) -> Result<(), WrongAnswer> {
        if answered == Some(self.0.into()) { Ok(()) } else { Err(WrongAnswer) }
    }
}

/// Returns whether a source in this chain is a [`WrongAnswer`].
pub(crate) fn is_wrong_answer(mut chain: Chain<'_>) -> bool {
    chain.any(|error| error.is::<WrongAnswer>())
}

impl fmt::Display for WrongAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer belongs to another query")
    }
}

impl std::error::Error for WrongAnswer {}
