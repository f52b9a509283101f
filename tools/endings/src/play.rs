use std::any::Any;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use reqscope_testkit::Ledger;
use serde::Serialize;
use tokio::runtime;

use crate::judge::{Observed, judge};
use crate::world::World;
use crate::{BOUND, Ending, Protocol, Stack};

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
    play_within(3 * BOUND, ending, stack, protocol)
}

fn play_within(limit: Duration, ending: &'static Ending, stack: Stack, protocol: Protocol) -> Cell {
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
        match bounded(limit, move || run(ending, stack, protocol, settling)) {
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
fn bounded(
    limit: Duration,
    run: impl FnOnce() -> anyhow::Result<Outcome> + Send + 'static,
) -> anyhow::Result<Outcome> {
    let (told, hears) = sync_channel(1);
    let player = thread::spawn(move || {
        // Nobody listens any more where it took too long.
        told.send(run()).ok();
    });
    match hears.recv_timeout(limit) {
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
        let observed = async {
            let seen = (ending.client)(&world).await?;
            world.is_at_rest().await?;
            anyhow::Ok(seen)
        };
        let seen = match observed.await {
            Ok(seen) => seen,
            Err(error) => {
                // Its drop would panic, and that would say less.
                std::mem::forget(ledger);
                return Err(error).with_context(|| format!("after {:?}", world.scene.log.events()));
            }
        };
        let scene = world.scene.clone();
        let report = world.report().await?;
        let (must, _) = ending.must_on(stack, protocol);
        Ok(judge(must, settling, &scene, &ledger, &report, seen))
    });
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use reqscope::Exit;
    use reqscope_testkit::quiet_panic;

    use super::*;
    use crate::event::Event;
    use crate::{Must, Seen, Setup};

    /// Only for an ending that hangs: another one would hang too on a slow machine.
    const SHORT: Duration = Duration::from_millis(500);

    fn why(ending: &'static Ending) -> String {
        why_within(3 * BOUND, ending)
    }

    fn why_within(limit: Duration, ending: &'static Ending) -> String {
        match play_within(limit, ending, Stack::Hyper, Protocol::Http1).verdict {
            Verdict::Wrong(why) => why,
            verdict => format!("not wrong, but {verdict:?}"),
        }
    }

    #[test]
    fn it_is_right_where_all_is_as_declared() {
        static PLAIN: Ending = Ending::PLAIN;
        assert_eq!(play(&PLAIN, Stack::Axum, Protocol::Http2).verdict, Verdict::Right);
    }

    #[test]
    fn another_exit_is_wrong() {
        static OTHER: Ending = Ending { must: Must { told: &[Exit::Failed], ..Must::DONE }, ..Ending::PLAIN };
        assert!(why(&OTHER).contains("told [Completed] instead of [Failed]"), "{}", why(&OTHER));
    }

    #[test]
    fn another_answer_is_wrong() {
        static OTHER: Ending = Ending { must: Must { sees: Seen::Whole(500), ..Must::DONE }, ..Ending::PLAIN };
        assert!(why(&OTHER).contains("the client saw 200 instead of 500"), "{}", why(&OTHER));
    }

    #[test]
    fn without_its_event_it_is_wrong_and_so_it_is_if_none_is_declared() {
        static MISSING: Ending = Ending { must: Must { events: &[Event::Dropped], ..Must::DONE }, ..Ending::PLAIN };
        assert!(why(&MISSING).contains("not all of [Dropped] happened"), "{}", why(&MISSING));
        static NONE: Ending = Ending { must: Must { events: &[], ..Must::DONE }, ..Ending::PLAIN };
        assert!(why(&NONE).contains("no event is declared"), "{}", why(&NONE));
    }

    #[test]
    fn a_success_without_its_commit_is_wrong_even_where_it_is_declared() {
        static ROLLED_BACK: Ending = Ending {
            handler: |call| {
                Box::pin(async move {
                    let lease = reqscope::Guard::detach(call.lazy.get().await?);
                    reqscope::Lease::fail(lease).await?;
                    crate::body::answer(200, "it lies")
                })
            },
            must: Must { told: &[Exit::Failed], ..Must::DONE },
            ..Ending::PLAIN
        };
        assert!(why(&ROLLED_BACK).contains("a success without its commit"), "{}", why(&ROLLED_BACK));
    }

    #[test]
    fn what_is_not_given_back_is_wrong() {
        static LEAKS: Ending = Ending {
            handler: |call| {
                Box::pin(async move {
                    std::mem::forget(call.lazy.get().await?);
                    crate::body::answer(404, "it leaks")
                })
            },
            // It leaks however long one waits.
            setup: Setup { rest: Setup::SOON, ..Setup::DEFAULT },
            ..Ending::PLAIN
        };
        let verdict = play(&LEAKS, Stack::Hyper, Protocol::Http1).verdict;
        assert!(matches!(&verdict, Verdict::Wrong(why) if why.contains("everything has come back")), "{verdict:?}");
    }

    #[test]
    fn one_that_hangs_is_wrong_and_so_is_one_that_blocks_its_thread() {
        static HANGS: Ending = Ending { client: |_| Box::pin(pending()), ..Ending::PLAIN };
        assert_eq!(why_within(SHORT, &HANGS), "it hangs");
        static BLOCKS: Ending = Ending {
            client: |_| {
                Box::pin(async {
                    thread::park();
                    Ok(Seen::Left)
                })
            },
            ..Ending::PLAIN
        };
        assert_eq!(why_within(SHORT, &BLOCKS), "it hangs");
    }

    #[test]
    fn one_that_panics_is_wrong() {
        static PANICS: Ending =
            Ending { client: |_| Box::pin(async { quiet_panic("in the client") }), ..Ending::PLAIN };
        assert_eq!(why(&PANICS), "it panics: in the client");
    }
}
