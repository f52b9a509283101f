//! A server whose clients hang up must not grow: no more in its second fifty thousand requests than in its first.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ask;

const MEBIBYTE: u64 = 1024 * 1024;

/// What `reqscope-bench memory` has seen of a server in a process of its own.
#[derive(Deserialize)]
struct Seen {
    /// How many requests were sent in all.
    requests: u64,
    /// How many clients hung up before their answer.
    hung_up: u64,
    /// How many handles were released without an answer.
    cut: u64,
    /// Resident bytes after one half of the requests, and after both.
    middle: u64,
    end: u64,
}

/// The same, judged.
#[derive(Serialize)]
pub(super) struct Memory {
    requests: u64,
    hung_up: u64,
    cut: u64,
    middle: u64,
    end: u64,
    must: u64,
    pub(super) holds: bool,
}

impl From<Seen> for Memory {
    fn from(seen: Seen) -> Memory {
        let Seen { requests, hung_up, cut, middle, end } = seen;
        let must = middle + (middle / 20).max(4 * MEBIBYTE);
        Memory { requests, hung_up, cut, middle, end, must, holds: end <= must }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / MEBIBYTE as f64;
        write!(
            f,
            "Memory of a server after {} requests, of which {} were hung up on and {} lost a handler at work: \
             {:.1} MiB, after half of them {:.1} MiB (must: <= {:.1} MiB)",
            self.requests,
            self.hung_up,
            self.cut,
            mebibytes(self.end),
            mebibytes(self.middle),
            mebibytes(self.must),
        )
    }
}

/// Runs the attack.
pub(super) fn measure(program: &Path) -> anyhow::Result<Memory> {
    eprintln!("measuring the memory of a server");
    let seen: Seen = ask(program, &["memory"])?;
    Ok(seen.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(middle: u64, end: u64) -> bool {
        Memory::from(Seen { requests: 2, hung_up: 1, cut: 1, middle, end }).holds
    }

    #[test]
    fn a_small_server_may_grow_by_four_mebibytes_and_a_big_one_by_five_per_cent() {
        assert!(holds(10 * MEBIBYTE, 14 * MEBIBYTE));
        assert!(!holds(10 * MEBIBYTE, 14 * MEBIBYTE + 1));
        assert!(holds(200 * MEBIBYTE, 210 * MEBIBYTE));
        assert!(!holds(200 * MEBIBYTE, 210 * MEBIBYTE + 1));
    }
}
