//! Runs one script on one contender, in a process of its own, because a contender may hang, panic or abort.

use std::env;
use std::future::Future;
use std::io::Write;
use std::panic::{self, PanicHookInfo};
use std::process::{self, Output};
use std::time::Duration;

use clap::Args;
use reqscope_records::compare::{Judged, Verdict};
use tokio::process::Command;
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;

use super::Row;
use super::steps::{Unmet, message};
use crate::contender::Contender;
use crate::contenders::{Name, Visitor};

/// The most that a whole script may take. Each of its steps has a shorter limit.
const LIMIT: Duration = Duration::from_secs(10);

/// The `fault` subcommand.
#[derive(Args)]
pub(crate) struct Fault {
    row: Row,
    contender: Name,
    /// Runs the script in this process, which may then hang or abort. Prints the verdict alone, and each panic.
    #[arg(long)]
    here: bool,
}

impl Fault {
    /// Prints the verdict as JSON.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Fault { row, contender, here } = self;
        if here { contender.visit(Here(row)) } else { apart("fault", row.name(), contender.to_string()) }
    }
}

/// Runs a script in a child process, by this subcommand, and prints the verdict.
pub(crate) fn apart(subcommand: &str, row: &str, contender: String) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let verdict = runtime.block_on(watch(&[subcommand, row, &contender, "--here"]))?;
    println!("{}", serde_json::to_string(&Judged { row: row.to_owned(), contender, verdict })?);
    Ok(())
}

async fn watch(arguments: &[&str]) -> anyhow::Result<Verdict> {
    let mut child = Command::new(env::current_exe()?);
    child.args(arguments).kill_on_drop(true);
    match timeout(LIMIT, child.output()).await {
        Ok(output) => Ok(read(&output?)),
        Err(_) => Ok(Verdict::Fail(format!("hangs: no verdict within {LIMIT:?}"))),
    }
}

/// Returns the verdict that a child process printed, or how the process ended.
fn read(output: &Output) -> Verdict {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().last().unwrap_or("without a message");
        Verdict::Fail(format!("the process dies ({}): {last}", output.status))
    })
}

/// Runs it in this process, and ends that.
struct Here(Row);

impl Visitor for Here {
    type Output = anyhow::Result<()>;

    fn visit<C: Contender>(self) -> anyhow::Result<()> {
        here(&runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?, self.0.run::<C>())
    }
}

/// Runs a script in this process, prints the verdict, and ends the process.
pub(crate) fn here(runtime: &Runtime, script: impl Script) -> anyhow::Result<()> {
    panic::set_hook(Box::new(print_panic));
    println!("{}", serde_json::to_string(&verdict(runtime, script))?);
    std::io::stdout().flush()?;
    // Not by returning: a task that hangs would block the end of the runtime.
    process::exit(0)
}

/// Runs a script, and returns the verdict.
pub(crate) fn verdict(runtime: &Runtime, script: impl Script) -> Verdict {
    match runtime.block_on(async { tokio::spawn(script).await }) {
        Ok(result) => of_result(result),
        Err(error) => Verdict::Fail(format!("panics: {}", message(error.into_panic()))),
    }
}

fn of_result(result: Result<(), Unmet>) -> Verdict {
    match result {
        Ok(()) => Verdict::Pass,
        Err(Unmet::Saw(what)) => Verdict::Fail(what),
        Err(Unmet::NotOffered) => Verdict::NotOffered,
    }
}

/// A running script.
pub(crate) trait Script: Future<Output = Result<(), Unmet>> + Send + 'static {}

impl<F: Future<Output = Result<(), Unmet>> + Send + 'static> Script for F {}

/// Prints one line for each panic: the last one says why a process was aborted.
fn print_panic(panic: &PanicHookInfo<'_>) {
    eprintln!("panic: {}", panic.payload_as_str().unwrap_or("without a message").replace('\n', " "));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn output(status: i32, stdout: &str, stderr: &str) -> Output {
        Output { status: ExitStatus::from_raw(status), stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn verdict_of_a_child_is_read() {
        for verdict in [Verdict::Pass, Verdict::NotOffered, Verdict::Fail("55 lent by a pool of 10".to_owned())] {
            let printed = serde_json::to_string(&verdict).unwrap();
            assert_eq!(read(&output(0, &printed, "panic: on the way\n")), verdict);
        }
    }

    #[test]
    fn child_that_dies_fails_with_its_last_line() {
        let died = read(&output(6, "", "panic: the first\npanic: there is no reactor\n"));
        let Verdict::Fail(saw) = died else { panic!("{died:?}") };
        assert!(saw.contains("signal: 6") && saw.ends_with("panic: there is no reactor"), "{saw}");
    }
}
