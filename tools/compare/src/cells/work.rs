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
    /// A request that never asks: open, and drop.
    Unused,
    /// A request that asks once: open, first use, end.
    First,
    /// The same over a source without shortcuts: nothing is at hand, and nothing is taken back at once.
    Plain,
    /// One more use in a request that has its object.
    Later,
}

/// So many times, and nothing else.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) operation: Operation,
    pub(crate) times: usize,
}

impl Visitor for Run {
    type Output = anyhow::Result<()>;

    fn visit<C: LazyCell>(self) -> anyhow::Result<()> {
        // Nothing here ever waits, but a handler always has a runtime around it.
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        repeat::<C>(&runtime, self.operation, self.times);
        Ok(())
    }
}

/// Operations between two looks at the clock.
const BATCH: usize = 1_000;

/// At least so long, after one batch to get warm. The nanoseconds of one operation are the result.
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
            // In the runtime, as a handler is: what is spawned there need not be sent to it.
            runtime.block_on(async {
                for number in 1..=times {
                    first::<C, _>(black_box(&server));
                    if number % HELD_UP == 0 || number == times {
                        yield_now().await;
                    }
                }
            });
        }
        Operation::Later => {
            let request = C::open(server);
            drop(now(C::get(server, C::handle(&request))).expect("it is at hand"));
            for _ in 0..times {
                let loan = now(C::get(server, black_box(C::handle(&request)))).expect("it is there");
                drop(black_box(loan));
            }
        }
    }
}

/// After so many the runtime runs what they have spawned: more than one, so that its own turn does not count, and no more
/// than it takes in one turn.
const HELD_UP: usize = 50;

#[inline(always)]
fn first<C: LazyCell, S: Source>(server: &C::Server<S>) {
    let request = C::open(server);
    let loan = now(C::get(server, C::handle(&request))).expect("it does not wait");
    drop(black_box(loan));
    now(C::end(request, Exit::Completed));
}

/// The output of a future that never waits. In line, as an `.await` is: no executor is part of what is measured.
#[inline(always)]
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing that is measured here waits"),
    }
}
