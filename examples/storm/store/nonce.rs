//! Questions to which only their own answer fits.
use std::fmt;

use anyhow::Chain;

/// A number that goes along with one question, and has to come back with its answer.
///
/// It is never 0, which stands for no number in an answer that tells what was inserted.
#[derive(Clone, Copy)]
pub(crate) struct Nonce(pub(crate) u32);

/// An answer that belongs to another question: the connection is off by one, and everybody after us is lied to.
#[derive(Debug)]
pub(crate) struct Shifted;

impl Nonce {
    pub(crate) fn draw() -> Nonce {
        Nonce(fastrand::u32(1..))
    }

    /// Did the answer bring this one along? `None` stands for an answer of another shape.
    pub(crate) fn came_back(self, answered: Option<u64>) -> Result<(), Shifted> {
        if answered == Some(self.0.into()) { Ok(()) } else { Err(Shifted) }
    }
}

/// Did somebody get another's answer, somewhere down this chain?
pub(crate) fn is_shifted(mut chain: Chain<'_>) -> bool {
    chain.any(|error| error.is::<Shifted>())
}

impl fmt::Display for Shifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is another question's")
    }
}

impl std::error::Error for Shifted {}
