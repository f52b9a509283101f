//! Futures that mostly end with their first step.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::rt::runtime::coop;

/// A first step. A trait, because a closure would not be compiled into the caller of the future.
pub(crate) trait FirstStep {
    type Output;
    /// What is left to do.
    type Left;

    fn take(self) -> ControlFlow<Self::Output, Self::Left>;
}

pin_project! {
    /// A future that begins with a first step, within the budget of tokio's cooperation. `go_on` makes the rest of it. An
    /// `async` block would move everything into its frame before.
    #[project = Polled]
    pub(crate) enum Shortcut<S, B, F> {
        First { step: Option<S>, go_on: B },
        Rest { #[pin] rest: F },
    }
}

impl<S, B, F: Future> Shortcut<S, B, F> {
    pub(crate) fn new(step: S, go_on: B) -> Self {
        Shortcut::First { step: Some(step), go_on }
    }

    /// Polls the rest. Not inlined, so that the first step is.
    #[inline(never)]
    fn poll_rest(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            Polled::Rest { rest } => rest.poll(cx),
            Polled::First { .. } => unreachable!("the first step was taken"),
        }
    }
}

impl<S, B, F> Future for Shortcut<S, B, F>
where
    S: FirstStep<Output = F::Output>,
    B: Fn(S::Left) -> F,
    F: Future,
{
    type Output = F::Output;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let Polled::First { step, go_on } = self.as_mut().project() {
            ready!(coop::poll_proceed(cx)).made_progress();
            match step.take().expect("a future is not polled after its end").take() {
                ControlFlow::Break(output) => return Poll::Ready(output),
                ControlFlow::Continue(left) => {
                    let rest = go_on(left);
                    self.as_mut().set(Shortcut::Rest { rest });
                }
            }
        }
        self.poll_rest(cx)
    }
}
