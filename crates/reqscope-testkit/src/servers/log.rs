//! The last output of a program.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// How many bytes of a log an error message has at most.
const TAIL: u64 = 2_000;

/// Returns the end of a log, from the position `from` at the earliest.
pub(super) fn log_tail(log: &Path, from: u64) -> String {
    let read = || -> io::Result<String> {
        let mut log = File::open(log)?;
        let end = log.seek(SeekFrom::End(0))?;
        let begin = from.max(end.saturating_sub(TAIL));
        log.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // Without the first line if it is cut.
        let whole = if begin == from { &*text } else { text.split_once('\n').map_or(&*text, |(_, rest)| rest) };
        Ok(whole.trim().to_owned())
    };
    read().unwrap_or_else(|error| format!("(its log cannot be read: {error})"))
}
