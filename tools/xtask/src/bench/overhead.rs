//! How much memory a pool takes for each of its objects.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::valgrind::{TIMES, Valgrind};

const MUST: u64 = 128;

/// What lies on the heap for one more idle object whose handle is a `u64`: its slot with the handle in it, and its share
/// of what the pool's lists keep ready.
#[derive(Serialize)]
pub(super) struct Overhead {
    bytes: u64,
    must: u64,
    pub(super) holds: bool,
}

impl fmt::Display for Overhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overhead { bytes, must, .. } = self;
        write!(f, "Memory of a pool per object, a handle of 8 bytes included: {bytes} bytes (must: <= {must} bytes)")
    }
}

/// The difference between a pool of so many and one of twice as many, divided.
pub(super) fn measure(valgrind: &Valgrind, program: &Path) -> anyhow::Result<Overhead> {
    let bytes = valgrind.left(program, &["run", "pool-leave"], TIMES)?;
    Ok(Overhead { bytes, must: MUST, holds: bytes <= MUST })
}
