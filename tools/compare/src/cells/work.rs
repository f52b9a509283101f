//! What a cell costs by itself.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use reqscope::Exit;
use tokio::runtime::{self, Runtime};
use tokio::task::yield_now;

use super::cell::LazyCell;
use super::contenders::Visitor;
use super::source::{AtHand, Plain, Source};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// A request that does not use the cell: open and drop.
    Unused,
    /// A request that uses the cell once: open, first use, end.
    First,
    /// The same over a source without shortcuts.
    Plain,
    /// One more use in a request that has its handle.
    Later,
}

/// Repeats an operation, and does nothing else.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) operation: Operation,
    pub(crate) times: usize,
}

impl Visitor for Run {
    type Output = anyhow::Result<()>;

    fn visit<C: LazyCell>(self) -> anyhow::Result<()> {
        // Nothing here waits, but a handler always runs in a runtime.
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        repeat::<C>(&runtime, self.operation, self.times);
        Ok(())
    }
}

/// Operations between two readings of the clock.
const BATCH: usize = 1_000;

/// Repeats an operation for at least this time, after one batch as warm-up. The result is nanoseconds per operation.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) operation: Operation,
    pub(crate) time: Duration,
}

impl Visitor for Turn {
    type Output = anyhow::Result<f64>;

    fn visit<C: LazyCell>(self) -> anyhow::Result<f64> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        repeat::<C>(&runtime, self.operation, BATCH);
        let (begun, mut batches) = (Instant::now(), 0);
        loop {
            repeat::<C>(&runtime, self.operation, BATCH);
            batches += 1;
            let elapsed = begun.elapsed();
            if elapsed >= self.time {
                return Ok(elapsed.as_nanos() as f64 / (batches * BATCH) as f64);
            }
        }
    }
}

fn repeat<C: LazyCell>(runtime: &Runtime, operation: Operation, times: usize) {
    let _entered = runtime.enter();
    let server = C::serve(Arc::new(AtHand));
    let server = black_box(&server);
    match operation {
        Operation::Unused => {
            for _ in 0..times {
                drop(black_box(C::open(server)));
            }
        }
        Operation::First => {
            for _ in 0..times {
                first::<C, _>(server);
            }
        }
        Operation::Plain => {
            let server = C::serve(Arc::new(Plain));
            // On the runtime, as a handler is, so that spawning need not send to it.
            runtime.block_on(async {
                for number in 1..=times {
                    first::<C, _>(black_box(&server));
                    if number % SPAWNED == 0 || number == times {
                        yield_now().await;
                    }
                }
            });
        }
        Operation::Later => {
            let request = C::open(server);
            drop(now(C::get(server, C::cell(&request))).expect("it is at hand"));
            for _ in 0..times {
                let loan = now(C::get(server, black_box(C::cell(&request)))).expect("it is acquired");
                drop(black_box(loan));
            }
        }
    }
}

/// After this many operations the runtime runs the tasks that they spawned: several, so that its own turn does not
/// show, and no more than it runs in one turn.
const SPAWNED: usize = 50;

#[inline(always)]
fn first<C: LazyCell, S: Source>(server: &C::Server<S>) {
    let request = C::open(server);
    let loan = now(C::get(server, C::cell(&request))).expect("it does not wait");
    drop(black_box(loan));
    now(C::end(request, Exit::Completed));
}

/// Returns the output of a future that never waits. Inlined, as an `.await` is: no executor is part of what is
/// measured.
#[inline(always)]
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing that is measured here waits"),
    }
}
