//! The memory of a server whose clients hang up must not grow from the first half of its requests to the second.

use std::fmt;
use std::path::Path;

use reqscope_records::bench::MemoryRun;
use serde::Serialize;

use super::ask;

const MEBIBYTE: u64 = 1024 * 1024;

/// The memory of a server, judged.
#[derive(Serialize)]
pub(super) struct Memory {
    #[serde(flatten)]
    run: MemoryRun,
    must: u64,
    pub(super) holds: bool,
}

impl From<MemoryRun> for Memory {
    fn from(run: MemoryRun) -> Memory {
        let must = run.middle + (run.middle / 20).max(4 * MEBIBYTE);
        let holds = run.end <= must;
        Memory { run, must, holds }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / MEBIBYTE as f64;
        write!(
            f,
            "Memory of a server after {} requests, of which {} were hung up on and {} lost a handler at work: \
             {:.1} MiB, after half of them {:.1} MiB (must: <= {:.1} MiB)",
            self.run.requests,
            self.run.hung_up,
            self.run.cut,
            mebibytes(self.run.end),
            mebibytes(self.run.middle),
            mebibytes(self.must),
        )
    }
}

/// Attacks a server in a process of its own.
pub(super) fn measure(program: &Path) -> anyhow::Result<Memory> {
    eprintln!("measuring the memory of a server");
    let run: MemoryRun = ask(program, &["memory"])?;
    Ok(run.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(middle: u64, end: u64) -> bool {
        Memory::from(MemoryRun { requests: 2, hung_up: 1, cut: 1, middle, end }).holds
    }

    #[test]
    fn server_may_grow_by_4_mib_or_by_5_per_cent() {
        assert!(holds(10 * MEBIBYTE, 14 * MEBIBYTE));
        assert!(!holds(10 * MEBIBYTE, 14 * MEBIBYTE + 1));
        assert!(holds(200 * MEBIBYTE, 210 * MEBIBYTE));
        assert!(!holds(200 * MEBIBYTE, 210 * MEBIBYTE + 1));
    }
}
