//! Content one direction has read and not yet forwarded, in order.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How many bytes a direction holds at most; beyond that it reads no more, and the sender has to wait.
const LIMIT: usize = 64 * 1024;

/// The longest delay: beyond it lies nothing that a test sees, but the end of the clock.
const AGES: Duration = Duration::from_secs(365 * 24 * 60 * 60);

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

    /// How many bytes may be read.
    pub(super) fn room(&self) -> usize {
        LIMIT - self.held
    }

    pub(super) fn first(&self) -> Option<&Parcel> {
        self.parcels.front()
    }

    /// So many bytes of the first parcel are written.
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

    /// Drops the first parcel, and tells how many bytes that were.
    pub(super) fn swallow(&mut self) -> usize {
        let swallowed = self.parcels.pop_front().map_or(0, |parcel| parcel.content.len());
        self.held -= swallowed;
        swallowed
    }
}

impl Content {
    /// How many bytes are left of it.
    fn len(&self) -> usize {
        match self {
            Content::Bytes { bytes, written } => bytes.len() - written,
            Content::Fin | Content::Reset => 0,
        }
    }
}

impl Parcel {
    /// When it is due, if not by now.
    pub(super) fn due(&self, delay: Duration) -> Option<Instant> {
        let due = self.arrived + delay.min(AGES);
        (!delay.is_zero() && due > Instant::now()).then_some(due)
    }
}
