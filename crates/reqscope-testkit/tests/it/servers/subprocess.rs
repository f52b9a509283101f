//! Runs a test again in a process of its own, to be killed, or with another environment.

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The variable that has the role of such a process.
const ROLE: &str = "REQSCOPE_TEST_ROLE";

/// Marks its lines among those of the test harness.
const MARK: &str = "report: ";

/// Returns the role of this process, or `None` in the process of the test harness.
pub(super) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// Sends a line to the test that has started this process.
pub(super) fn report(line: impl std::fmt::Display) {
    println!("\n{MARK}{line}");
}

/// Returns a command that runs this test again. Its name includes its module.
pub(super) fn rerun(test: &str, role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "--test-threads=1", test]).env(ROLE, role).env("RUST_BACKTRACE", "0");
    // A process group of its own, as a terminal creates for a command.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    command
}

/// Returns the next line that it reports, or `None` if it ends without.
pub(super) fn next_line(process: &mut Child) -> Option<String> {
    // One byte at a time, so that the next call finds the rest.
    let stdout = BufReader::with_capacity(1, process.stdout.as_mut().unwrap());
    stdout.lines().map_while(Result::ok).find_map(|line| Some(line.strip_prefix(MARK)?.to_owned()))
}
