/// The direction of bytes through a [`FaultProxy`](crate::FaultProxy).
///
/// ```
/// use reqscope_testkit::{Direction, Script};
///
/// // The server receives everything, and its answers are lost.
/// let script = Script::new().black_hole(Direction::ToClient);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
    /// Both directions.
    Both,
}

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

impl Direction {
    pub(super) fn covers(self, way: Way) -> bool {
        match self {
            Direction::ToServer => way == Way::ToServer,
            Direction::ToClient => way == Way::ToClient,
            Direction::Both => true,
        }
    }
}

impl Way {
    /// Returns the opposite direction.
    pub(super) fn back(self) -> Way {
        match self {
            Way::ToServer => Way::ToClient,
            Way::ToClient => Way::ToServer,
        }
    }
}
