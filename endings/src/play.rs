use std::any::Any;
use std::panic;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};
use reqscope_testkit::Ledger;
use serde::Serialize;
use tokio::runtime;

use crate::judge::{Observed, judge};
use crate::world::World;
use crate::{BOUND, Ending, Protocol, Stack};

/// What panics that belong to an ending say.
pub(crate) const SCRIPTED: &str = "told to";

/// One ending on one stack over one protocol.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// What it is played on.
    pub stack: Stack,
    /// How the client speaks.
    pub protocol: Protocol,
    /// Whether it is right.
    pub verdict: Verdict,
    /// The exits that the resource was told, in order.
    pub told: Vec<String>,
    /// How many releases ended.
    pub released: u64,
    /// How many handles were given up at a deadline.
    pub abandoned: u64,
    /// What the client saw.
    pub seen: String,
    /// What proves that it happened.
    pub events: Vec<String>,
    /// Why this is not as elsewhere, or not as one would want.
    pub note: Option<&'static str>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// Whether a cell is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything is as declared, and it happened.
    Right,
    /// It does not exist here, for this reason.
    Absent(String),
    /// What is not as declared.
    Wrong(String),
}

/// Plays an ending, with each of its resources, and judges what was observed.
///
/// It never panics and never takes longer than a few times [`BOUND`](crate::BOUND): each run has a thread of its own, which
/// is left behind if it hangs.
pub fn play(ending: &'static Ending, stack: Stack, protocol: Protocol) -> Cell {
    let begun = Instant::now();
    let mut cell = Cell {
        stack,
        protocol,
        verdict: Verdict::Right,
        told: Vec::new(),
        released: 0,
        abandoned: 0,
        seen: String::new(),
        events: Vec::new(),
        note: ending.must_on(stack, protocol).1,
        millis: 0,
    };
    if let Some(why) = ending.absent_on(stack, protocol) {
        cell.verdict = Verdict::Absent(why.to_owned());
        return cell;
    }
    for &settling in ending.resources.settling() {
        match bounded(ending, stack, protocol, settling) {
            Ok((observed, verdict)) => {
                cell.told = observed.told.iter().map(|exit| format!("{exit:?}")).collect();
                (cell.released, cell.abandoned) = (observed.released, observed.abandoned);
                cell.seen = observed.seen.to_string();
                cell.events = observed.events.iter().map(ToString::to_string).collect();
                if let Err(error) = verdict {
                    cell.verdict = Verdict::Wrong(format!("{error:#}"));
                }
            }
            Err(error) => cell.verdict = Verdict::Wrong(format!("{error:#}")),
        }
        if cell.verdict != Verdict::Right {
            break;
        }
    }
    cell.millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    cell
}

type Outcome = (Observed, anyhow::Result<()>);

/// On a thread and a runtime of its own: neither a loop nor a blocked thread holds up the rest.
fn bounded(ending: &'static Ending, stack: Stack, protocol: Protocol, settling: bool) -> anyhow::Result<Outcome> {
    let (told, hears) = sync_channel(1);
    let player = thread::Builder::new().name(ending.name.to_owned());
    let player = player.spawn(move || {
        let outcome = run(ending, stack, protocol, settling);
        // Nobody listens any more where it took too long.
        told.send(outcome).ok();
    })?;
    match hears.recv_timeout(3 * BOUND) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err(anyhow!("it hangs")),
        Err(RecvTimeoutError::Disconnected) => {
            let panic = player.join().expect_err("who ends without a word has panicked");
            Err(anyhow!("it panics: {}", said(&*panic).unwrap_or("without words")))
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

fn run(ending: &'static Ending, stack: Stack, protocol: Protocol, settling: bool) -> anyhow::Result<Outcome> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let ledger = Ledger::new();
        let world = World::start(ending, stack, protocol, settling, &ledger).await?;
        let seen = (ending.client)(&world).await;
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                let events = world.scene.log.events();
                // Its ledger has nothing to say any more.
                std::mem::forget(ledger);
                return Err(error).with_context(|| format!("after {events:?}"));
            }
        };
        let rest = world.is_at_rest().await;
        if let Err(error) = rest {
            std::mem::forget(ledger);
            return Err(error);
        }
        let scene = world.scene.clone();
        let report = world.report().await?;
        let (must, _) = ending.must_on(stack, protocol);
        Ok(judge(must, settling, &scene, &ledger, &report, seen))
    });
    runtime.shutdown_background();
    outcome
}

/// Keeps the panics that belong to endings off the screen; all others are told as ever.
pub fn quiet() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !said(panic.payload()).is_some_and(|text| text.starts_with(SCRIPTED)) {
            tell(panic);
        }
    }));
}
