//! A test that runs once more in a process of its own, to be killed there, or to have an environment of its own.

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Set in that process, to what it is there for.
const ROLE: &str = "REQSCOPE_TEST_ROLE";

/// What tells its lines from those of the harness.
const MARK: &str = "told: ";

/// What this process is there for, if it is that process.
pub(super) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// Tells the test that has started this process.
pub(super) fn tell(line: impl std::fmt::Display) {
    println!("\n{MARK}{line}");
}

/// The command that runs this test, named with its module, once more.
pub(super) fn again(test: &str, role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "--test-threads=1", test]).env(ROLE, role).env("RUST_BACKTRACE", "0");
    // A group of its own, as a terminal gives to what it runs.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    command
}

/// The next line that it tells, or none if it ends without.
pub(super) fn told(process: &mut Child) -> Option<String> {
    // By a byte at a time, so that the rest stays for the next call.
    let stdout = BufReader::with_capacity(1, process.stdout.as_mut().unwrap());
    stdout.lines().map_while(Result::ok).find_map(|line| Some(line.strip_prefix(MARK)?.to_owned()))
}
