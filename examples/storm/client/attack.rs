//! The clients of a storm, and the questions they ask the server before and after it.
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
use crate::client::plan::Part;
use crate::client::protocol::Protocol;
use crate::client::results::Tally;
use crate::options::Load;
use crate::report::Report;
use crate::server::stats::Stats;

/// How long the last releases may take after the last hang-up: longer than the deadline of a release.
const SETTLE: Duration = Duration::from_secs(7);

/// How long to wait before the next look at the counters.
const LOOK: Duration = Duration::from_millis(20);

/// What `/probe` answers.
#[derive(Deserialize)]
struct Probe {
    taken: u64,
}

/// Storms the server at `target` and reports.
pub(crate) fn run(target: SocketAddr, load: &Load) -> Result<Report> {
    let seed = load.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    ask::<serde_json::Value>(target, "POST", "/reset")?;
    let begun = Instant::now();
    let tally = storm(target, load, seed)?;
    let elapsed = begun.elapsed();
    let server = settled(target)?;
    let probe: Probe = ask(target, "GET", "/probe")?;
    let tags: HashSet<u32> = ask(target, "GET", "/tags")?;
    Ok(Report::new(seed, load, elapsed, tally, server, probe.taken, &tags))
}

/// Each client, which over HTTP/2 is one of several on a thread, takes the next part that nobody has played.
///
/// Over the second half the storm abates: one client leaves after the other. While all are there they outnumber the
/// connections of a pool, and who hangs up within milliseconds does so in the queue; cut at work are those who come
/// when there is no queue.
fn storm(target: SocketAddr, load: &Load, seed: u64) -> Result<Tally> {
    let protocol = load.protocol();
    let bar = ProgressBar::new(load.requests).with_style(
        ProgressStyle::with_template("  {bar:48.cyan/blue} {human_pos}/{human_len} requests, {elapsed}")
            .expect("the template is well-formed"),
    );
    let next = AtomicU64::new(0);
    let (connections, requests) = (u64::from(load.connections), load.requests);
    let play = |places: Range<u64>| {
        let next = |place| {
            // The first client stays to the end.
            let leaves = requests - requests * place / connections / 2;
            // Relaxed, here and below: only the number matters, and no two clients get the same one.
            let is_there = next.load(Ordering::Relaxed) < leaves;
            let number = is_there.then(|| next.fetch_add(1, Ordering::Relaxed))?;
            (number < requests).then(|| Part::draw(protocol, seed, number))
        };
        let mut tally = Tally::new(protocol);
        let mut record = |part: &Part, seen| {
            tally.record(part, seen);
            bar.inc(1);
        };
        match protocol {
            Protocol::Http1 => {
                let mut client = Client::new(target);
                while let Some(part) = next(places.start) {
                    record(&part, client.play(&part));
                }
            }
            Protocol::Http2 => http2::play(target, places, next, record).context("cannot start a client")?,
        }
        anyhow::Ok(tally)
    };
    let mut all = Tally::new(protocol);
    let play = &play;
    let on_a_thread = if protocol == Protocol::Http2 { http2::STREAMS } else { 1 };
    thread::scope(|scope| {
        let starts = (0..connections).step_by(on_a_thread as usize);
        let places = starts.map(|start| start..connections.min(start + on_a_thread));
        let clients: Vec<_> = places.map(|places| scope.spawn(move || play(places))).collect();
        for client in clients {
            all.merge(client.join().expect("a client does not panic")?);
        }
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    all.finish();
    Ok(all)
}

/// The server's counters once nothing is pending, or as they are when that does not come true.
fn settled(target: SocketAddr) -> Result<Stats> {
    let begun = Instant::now();
    let (mut requests, mut ran_on) = (None, Duration::ZERO);
    loop {
        let mut stats: Stats = ask(target, "GET", "/stats")?;
        if let Some(database) = &mut stats.database {
            if database.running > 0 {
                ran_on = begun.elapsed();
            }
            database.ran_on_ms = ran_on.as_millis() as u64;
        }
        // The last requests may still be in the kernel: nothing may have come in between two looks, either.
        let quiet = requests.replace(stats.requests) == Some(stats.requests) && stats.is_settled();
        if quiet || begun.elapsed() > SETTLE {
            return Ok(stats);
        }
        thread::sleep(LOOK);
    }
}

fn ask<T: DeserializeOwned>(target: SocketAddr, method: &str, path: &str) -> Result<T> {
    let response =
        Client::new(target).ask(method, path).with_context(|| format!("{target} does not answer {method} {path}"))?;
    let status = response.head.status;
    ensure!(status == 200, "{target} answers {status} to {method} {path}");
    serde_json::from_slice(&response.body)
        .with_context(|| format!("{target} does not speak the storm's language at {method} {path}"))
}
