use std::fmt;

/// What the client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It did not wait for a response.
    Left,
    /// The connection or stream ended without a head.
    Nothing,
    /// The complete response.
    Complete(u16),
    /// A head, and a body that breaks off.
    Cut(u16),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Left => f.write_str("left"),
            Seen::Nothing => f.write_str("nothing"),
            Seen::Complete(status) => write!(f, "{status}"),
            Seen::Cut(status) => write!(f, "{status} cut"),
        }
    }
}
