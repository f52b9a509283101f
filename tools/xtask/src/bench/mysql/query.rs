//! A prepared query over a connection of ours, beside the driver's own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use reqscope_records::bench::QueryRun;
use serde::Serialize;

use super::super::ask;
use super::ratio::{Must, Ratio, judge};
use crate::findings::Verdict;
use crate::valgrind::{Cost, Valgrind};

#[derive(Serialize)]
pub(super) struct Query {
    pub(super) ratios: [Ratio; 2],
}

/// The cost of one query in the process that asks it, without the work of the operating system.
#[derive(Serialize)]
pub(super) struct Instructions {
    pub(super) reqscope: Cost,
    pub(super) driver: Cost,
    /// With a `timeout` around each query, as each of ours has a deadline.
    pub(super) driver_in_time: Cost,
}

/// Of our instructions, over those of the driver with a `timeout`.
const IN_TIME: f64 = 1.05;

impl Instructions {
    /// Returns the promise, and whether it holds.
    pub(super) fn promise(&self) -> (String, Verdict) {
        let Instructions { reqscope, driver, driver_in_time } = self;
        let ratio = reqscope.instructions as f64 / driver_in_time.instructions as f64;
        let text = format!(
            "Instructions and allocations of a prepared query, without what the system does for it: {}, {}; of the \
             driver's in a `timeout` {}, {}, so ours are {ratio:.3} times as many (must: <= {IN_TIME}); of the driver's \
             without one {}, {}",
            reqscope.instructions,
            reqscope.allocations,
            driver_in_time.instructions,
            driver_in_time.allocations,
            driver.instructions,
            driver.allocations,
        );
        (text, (ratio <= IN_TIME).into())
    }
}

/// Runs the rounds.
pub(super) fn measure(program: &Path) -> anyhow::Result<Query> {
    let QueryRun { ticking, still } = ask(program, &["mysql", "query"])?;
    let ratios = [
        judge(&ticking, "prepared query", Some(Must::MostOrNoise(1.03)))?,
        judge(&still, "prepared query, no other timer on the runtime", None)?,
    ];
    Ok(Query { ratios })
}

/// Counts with valgrind. The server runs in another process.
pub(super) fn count(valgrind: &Valgrind, program: &Path) -> anyhow::Result<Instructions> {
    let mut server = Command::new(program)
        .args(["mysql", "serve"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("reqscope-bench mysql serve")?;
    let mut url = String::new();
    let read = BufReader::new(server.stdout.take().context("it is piped")?).read_line(&mut url);
    let cost = |whose: &str| valgrind.cost(program, &["mysql", "ask", whose, url.trim_end()]);
    let counted = match read {
        Ok(_) => cost("reqscope").and_then(|reqscope| {
            let (driver, driver_in_time) = (cost("driver")?, cost("driver-in-time")?);
            Ok(Instructions { reqscope, driver, driver_in_time })
        }),
        Err(error) => Err(error.into()),
    };
    // This ends the server, as the end of this process would.
    drop(server.stdin.take());
    let status = server.wait()?;
    ensure!(status.success(), "reqscope-bench mysql serve ended with {status}");
    counted
}
