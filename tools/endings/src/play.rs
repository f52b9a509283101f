use std::any::Any;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use reqscope_records::endings::{Cell, Verdict};
use reqscope_testkit::Ledger;
use tokio::runtime;

use crate::fixture::Fixture;
use crate::judge::{Observed, judge};
use crate::server::TestServer;
use crate::{BOUND, Ending, Protocol, Stack};

/// Plays an ending with each of its resources, and judges what was observed.
///
/// Never panics, and takes a few times [`BOUND`] at most: each run has a thread of its own, which is left behind if it
/// hangs.
pub fn play(ending: &'static Ending, stack: Stack, protocol: Protocol) -> Cell {
    play_within(3 * BOUND, ending, stack, protocol)
}

fn play_within(limit: Duration, ending: &'static Ending, stack: Stack, protocol: Protocol) -> Cell {
    let begun = Instant::now();
    let mut cell = Cell {
        stack: stack.name().to_owned(),
        protocol: protocol.name().to_owned(),
        verdict: Verdict::Right,
        exits: Vec::new(),
        released: 0,
        abandoned: 0,
        seen: String::new(),
        events: Vec::new(),
        note: ending.expected_on(stack, protocol).1.map(str::to_owned),
        millis: 0,
    };
    if let Some(why) = ending.absent_on(stack, protocol) {
        cell.verdict = Verdict::Absent(why.to_owned());
        return cell;
    }
    for &settling in ending.resources.settling() {
        match bounded(limit, move || run(ending, stack, protocol, settling)) {
            Ok((observed, verdict)) => {
                cell.exits = observed.exits.iter().map(|exit| format!("{exit:?}")).collect();
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

/// What was observed in a run, and whether it is as declared.
type Judged = (Observed, anyhow::Result<()>);

/// Calls `run` on a thread of its own and waits for the result, for `limit` at most. A run that loops or blocks its
/// thread does not hold up the others.
fn bounded(limit: Duration, run: impl FnOnce() -> anyhow::Result<Judged> + Send + 'static) -> anyhow::Result<Judged> {
    let (sender, receiver) = sync_channel(1);
    let player = thread::spawn(move || {
        // The receiver is gone if the run took too long.
        sender.send(run()).ok();
    });
    match receiver.recv_timeout(limit) {
        Ok(judged) => judged,
        Err(RecvTimeoutError::Timeout) => Err(anyhow!("it hangs")),
        Err(RecvTimeoutError::Disconnected) => {
            let panic = player.join().expect_err("a run that sends nothing has panicked");
            Err(anyhow!("it panics: {}", panic_message(&*panic).unwrap_or("with a payload that is no text")))
        }
    }
}

/// Returns the message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// Plays an ending once, on a runtime of its own.
fn run(ending: &'static Ending, stack: Stack, protocol: Protocol, settling: bool) -> anyhow::Result<Judged> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let judged = runtime.block_on(async {
        let ledger = Ledger::new();
        let fixture = Fixture::new(ending.setup, settling, &ledger);
        let server = TestServer::start(fixture.clone(), stack, protocol, ending.handler).await?;
        let observed = async {
            let seen = (ending.client)(&server).await?;
            server.wait_until_idle().await?;
            anyhow::Ok(seen)
        };
        let seen = match observed.await {
            Ok(seen) => seen,
            Err(error) => {
                // Its drop would panic, with a message that says less than this error.
                std::mem::forget(ledger);
                return Err(error).with_context(|| format!("after {:?}", fixture.log.events()));
            }
        };
        let report = server.report().await?;
        let (expected, _) = ending.expected_on(stack, protocol);
        Ok(judge(expected, settling, &fixture, &ledger, &report, seen))
    });
    runtime.shutdown_background();
    judged
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use reqscope::Exit;
    use reqscope_testkit::quiet_panic;

    use super::*;
    use crate::event::Event;
    use crate::{Expected, Seen, Setup};

    /// A limit for endings that hang, and only for those: on a busy machine any other would exceed it too.
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
    fn ending_that_ends_as_declared_is_right() {
        static PLAIN: Ending = Ending::PLAIN;
        assert_eq!(play(&PLAIN, Stack::Axum, Protocol::Http2).verdict, Verdict::Right);
    }

    #[test]
    fn other_exit_is_wrong() {
        static OTHER: Ending =
            Ending { expected: Expected { exits: &[Exit::Failed], ..Expected::COMPLETED }, ..Ending::PLAIN };
        assert!(why(&OTHER).contains("the exits are [Completed] instead of [Failed]"), "{}", why(&OTHER));
    }

    #[test]
    fn other_response_is_wrong() {
        static OTHER: Ending =
            Ending { expected: Expected { seen: Seen::Complete(500), ..Expected::COMPLETED }, ..Ending::PLAIN };
        assert!(why(&OTHER).contains("the client saw 200 instead of 500"), "{}", why(&OTHER));
    }

    #[test]
    fn ending_without_its_event_or_without_any_is_wrong() {
        static MISSING: Ending =
            Ending { expected: Expected { events: &[Event::Dropped], ..Expected::COMPLETED }, ..Ending::PLAIN };
        assert!(why(&MISSING).contains("not all of [Dropped] happened"), "{}", why(&MISSING));
        static NONE: Ending = Ending { expected: Expected { events: &[], ..Expected::COMPLETED }, ..Ending::PLAIN };
        assert!(why(&NONE).contains("no event is declared"), "{}", why(&NONE));
    }

    #[test]
    fn success_without_commit_is_wrong_even_if_declared() {
        static ROLLED_BACK: Ending = Ending {
            handler: |call| {
                Box::pin(async move {
                    let lease = reqscope::Guard::detach(call.lazy.get().await?);
                    reqscope::Lease::fail(lease).await?;
                    crate::body::response(200, "rolled back")
                })
            },
            expected: Expected { exits: &[Exit::Failed], ..Expected::COMPLETED },
            ..Ending::PLAIN
        };
        assert!(why(&ROLLED_BACK).contains("a success without its commit"), "{}", why(&ROLLED_BACK));
    }

    #[test]
    fn leaked_handle_is_wrong() {
        static LEAKS: Ending = Ending {
            handler: |call| {
                Box::pin(async move {
                    std::mem::forget(call.lazy.get().await?);
                    crate::body::response(404, "leaked")
                })
            },
            // The handle never comes back, so a short wait suffices.
            setup: Setup { idle_bound: Setup::SOON, ..Setup::DEFAULT },
            ..Ending::PLAIN
        };
        let verdict = play(&LEAKS, Stack::Hyper, Protocol::Http1).verdict;
        assert!(matches!(&verdict, Verdict::Wrong(why) if why.contains("all handles are released")), "{verdict:?}");
    }

    #[test]
    fn ending_that_hangs_or_blocks_its_thread_is_wrong() {
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
    fn ending_that_panics_is_wrong() {
        static PANICS: Ending =
            Ending { client: |_| Box::pin(async { quiet_panic("in the client") }), ..Ending::PLAIN };
        assert_eq!(why(&PANICS), "it panics: in the client");
    }
}
