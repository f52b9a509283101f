//! How far a scope is, in one byte: open, sealed, or ended.

use crate::exit::Exit;
use crate::rt::sync::{AtomicU8, Ordering};

/// The byte. It only moves forward, from open to sealed to ended.
pub(crate) struct ProgressCell(AtomicU8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Open,
    /// The close has begun, with this exit.
    Sealed(Exit),
    /// The releases that matter to the client succeeded, and this is the verdict.
    Ended(Exit),
    /// The close ended with an error.
    Failed,
}

const OPEN: u8 = 0;
const SEALED: u8 = 0x10;
const ENDED: u8 = 0x20;
const FAILED: u8 = 0x30;
const KIND: u8 = 0x30;
/// Set while tasks wait for the end of a sealed scope, so that a close without any does not lock their list.
const WATCHED: u8 = 0x80;

impl ProgressCell {
    #[inline]
    pub(crate) fn new() -> Self {
        ProgressCell(AtomicU8::new(OPEN))
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        // Relaxed: a loop that polls it sees it soon, and reads nothing that depends on it.
        self.0.load(Ordering::Relaxed) == OPEN
    }

    pub(crate) fn get(&self) -> Progress {
        // Acquire: a caller that sees the end sees the error too, and what the releases have done.
        decode(self.0.load(Ordering::Acquire))
    }

    /// Sets the progress of a scope that has no watchers yet.
    #[inline]
    pub(crate) fn set(&self, progress: Progress) {
        self.0.store(encode(progress), Ordering::Release);
    }

    /// Ends the scope, and returns whether it has watchers. A watcher that comes later sees the end.
    #[inline]
    pub(crate) fn end(&self, progress: Progress) -> bool {
        self.0.swap(encode(progress), Ordering::AcqRel) & WATCHED != 0
    }

    /// Announces a watcher of a sealed scope, and returns the progress at that moment.
    pub(crate) fn watch(&self) -> Progress {
        decode(self.0.fetch_or(WATCHED, Ordering::AcqRel))
    }
}

fn encode(progress: Progress) -> u8 {
    match progress {
        Progress::Open => OPEN,
        Progress::Sealed(exit) => SEALED | exit as u8,
        Progress::Ended(exit) => ENDED | exit as u8,
        Progress::Failed => FAILED,
    }
}

fn decode(byte: u8) -> Progress {
    let exit = [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked][usize::from(byte & 3)];
    match byte & KIND {
        SEALED => Progress::Sealed(exit),
        ENDED => Progress::Ended(exit),
        FAILED => Progress::Failed,
        _ => Progress::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_progress_fits_into_a_byte_beside_the_mark() {
        let exits = [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked];
        let all = exits.map(|exit| [Progress::Sealed(exit), Progress::Ended(exit)]).concat();
        for progress in all.into_iter().chain([Progress::Open, Progress::Failed]) {
            assert_eq!(decode(encode(progress) | WATCHED), progress);
        }
    }
}
