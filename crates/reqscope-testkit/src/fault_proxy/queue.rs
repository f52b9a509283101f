//! What one direction has read and not yet forwarded, in order.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How many bytes a direction holds at most. Beyond that it reads no more, and the sender has to wait.
const LIMIT: usize = 64 * 1024;

/// The longest delay. A test cannot tell it from a longer one, and it does not overflow the clock.
const LONGEST_DELAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Default)]
pub(super) struct Queue {
    parcels: VecDeque<Parcel>,
    held: usize,
}

pub(super) struct Parcel {
    pub(super) arrived: Instant,
    pub(super) content: Content,
}

pub(super) enum Content {
    Bytes { bytes: Vec<u8>, written: usize },
    Fin,
    Reset,
}

impl Queue {
    pub(super) fn push(&mut self, content: Content) {
        self.held += content.len();
        self.parcels.push_back(Parcel { arrived: Instant::now(), content });
    }

    /// Returns how many bytes may be read.
    pub(super) fn room(&self) -> usize {
        LIMIT - self.held
    }

    pub(super) fn first(&self) -> Option<&Parcel> {
        self.parcels.front()
    }

    /// Removes bytes of the first parcel that are written.
    pub(super) fn wrote(&mut self, count: usize) {
        let Some(Parcel { content: Content::Bytes { bytes, written }, .. }) = self.parcels.front_mut() else {
            return;
        };
        *written += count;
        self.held -= count;
        if *written == bytes.len() {
            self.parcels.pop_front();
        }
    }

    /// Removes the first parcel, and returns its number of bytes.
    pub(super) fn swallow(&mut self) -> usize {
        let swallowed = self.parcels.pop_front().map_or(0, |parcel| parcel.content.len());
        self.held -= swallowed;
        swallowed
    }
}

impl Content {
    /// Returns how many bytes are left.
    fn len(&self) -> usize {
        match self {
            Content::Bytes { bytes, written } => bytes.len() - written,
            Content::Fin | Content::Reset => 0,
        }
    }
}

impl Parcel {
    /// Returns when it is due, or `None` if it is due now.
    pub(super) fn due(&self, delay: Duration) -> Option<Instant> {
        let due = self.arrived + delay.min(LONGEST_DELAY);
        (!delay.is_zero() && due > Instant::now()).then_some(due)
    }
}
