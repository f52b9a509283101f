//! How much memory a pool takes for each handle.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::valgrind::{TIMES, Valgrind};

const MUST: u64 = 96;

/// The heap memory of one more idle handle, which is a `u64`: its slot with the handle in it, and its share of the
/// capacity of the pool's lists.
#[derive(Serialize)]
pub(super) struct Overhead {
    bytes: u64,
    must: u64,
    pub(super) holds: bool,
}

impl fmt::Display for Overhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overhead { bytes, must, .. } = self;
        write!(f, "Memory of a pool per handle, its own 8 bytes included: {bytes} bytes (must: <= {must} bytes)")
    }
}

/// Measures the difference between a pool of so many handles and one of twice as many, per handle.
pub(super) fn measure(valgrind: &Valgrind, program: &Path) -> anyhow::Result<Overhead> {
    let bytes = valgrind.left(program, &["run", "pool-leave"], TIMES)?;
    Ok(Overhead { bytes, must: MUST, holds: bytes <= MUST })
}
