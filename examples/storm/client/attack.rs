//! Runs all clients, and asks the server for its counters before and after.
use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::http1::Client;
use crate::client::http2;
use crate::client::plan::Plan;
use crate::client::protocol::Protocol;
use crate::client::results::Results;
use crate::findings::Findings;
use crate::options::LoadOptions;
use crate::report::Report;
use crate::server::stats::Stats;

/// How long the last releases may take after the last hang-up. Longer than the deadline of a release.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(7);

/// The time between two requests for the counters.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The answer of `/probe`.
#[derive(Deserialize)]
struct Probe {
    taken: u64,
}

/// Attacks the server at `target`, and reports.
pub(crate) fn run(target: SocketAddr, load: &LoadOptions) -> Result<Report> {
    let seed = load.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    ask::<serde_json::Value>(target, "POST", "/reset")?;
    let begun = Instant::now();
    let results = run_clients(target, load, seed)?;
    let elapsed = begun.elapsed();
    let server = settle(target)?;
    let probe: Probe = ask(target, "GET", "/probe")?;
    let tags: HashSet<u32> = ask(target, "GET", "/tags")?;
    Ok(Report::new(seed, load, elapsed, Findings::new(results, server, probe.taken, &tags)))
}

/// Runs all clients until every plan has been carried out. Over HTTP/2 several clients share a thread.
///
/// Each client takes the next plan that no other client has. During the second half one client leaves after the other:
/// while all are there they outnumber the connections of a pool, so requests that are cut within milliseconds are cut
/// in the queue. Only when the queue is gone are they cut while they work.
fn run_clients(target: SocketAddr, load: &LoadOptions, seed: u64) -> Result<Results> {
    let protocol = load.protocol();
    let bar = ProgressBar::new(load.requests).with_style(
        ProgressStyle::with_template("  {bar:48.cyan/blue} {human_pos}/{human_len} requests, {elapsed}")
            .expect("the template is well-formed"),
    );
    let next = AtomicU64::new(0);
    let (connections, requests) = (u64::from(load.connections), load.requests);
    let run = |indices: Range<u64>| {
        let next = |index| {
            // The first client stays to the end.
            let last = requests - requests * index / connections / 2;
            // Relaxed, here and below: only the number matters, and no two clients get the same one.
            let stays = next.load(Ordering::Relaxed) < last;
            let number = stays.then(|| next.fetch_add(1, Ordering::Relaxed))?;
            (number < requests).then(|| Plan::draw(protocol, seed, number))
        };
        let mut results = Results::new(protocol);
        let mut record = |plan: &Plan, outcome| {
            results.record(plan, outcome);
            bar.inc(1);
        };
        match protocol {
            Protocol::Http1 => {
                let mut client = Client::new(target);
                while let Some(plan) = next(indices.start) {
                    record(&plan, client.run(&plan));
                }
            }
            Protocol::Http2 => http2::run(target, indices, next, record).context("cannot start a client")?,
        }
        anyhow::Ok(results)
    };
    let mut all = Results::new(protocol);
    let run = &run;
    let per_thread = if protocol == Protocol::Http2 { http2::STREAMS } else { 1 };
    thread::scope(|scope| {
        let starts = (0..connections).step_by(per_thread as usize);
        let ranges = starts.map(|start| start..connections.min(start + per_thread));
        let threads: Vec<_> = ranges.map(|indices| scope.spawn(move || run(indices))).collect();
        for thread in threads {
            all.merge(thread.join().expect("a client does not panic")?);
        }
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    all.finish();
    Ok(all)
}

/// Waits until nothing is pending on the server, or for [`SETTLE_TIMEOUT`], and returns its counters.
fn settle(target: SocketAddr) -> Result<Stats> {
    let begun = Instant::now();
    let (mut requests, mut last_running) = (None, Duration::ZERO);
    loop {
        let mut stats: Stats = ask(target, "GET", "/stats")?;
        if let Some(database) = &mut stats.database {
            if database.running > 0 {
                last_running = begun.elapsed();
            }
            database.last_running_ms = last_running.as_millis() as u64;
        }
        // The last requests may still be in the kernel, so no request may have begun since the last poll.
        let quiet = requests.replace(stats.requests) == Some(stats.requests) && stats.is_settled();
        if quiet || begun.elapsed() > SETTLE_TIMEOUT {
            return Ok(stats);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Sends a request outside of any plan, and parses the JSON that is answered.
fn ask<T: DeserializeOwned>(target: SocketAddr, method: &str, path: &str) -> Result<T> {
    let response =
        Client::new(target).ask(method, path).with_context(|| format!("{target} does not answer {method} {path}"))?;
    let status = response.head.status;
    ensure!(status == 200, "{target} answers {status} to {method} {path}");
    serde_json::from_slice(&response.body)
        .with_context(|| format!("{target} answers {method} {path} with something else than a storm's server does"))
}
