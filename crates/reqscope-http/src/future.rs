use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};
use pin_project_lite::pin_project;
use reqscope::{CloseError, Exit, Scope};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::report::{self, ReportedClose, Sent};
use crate::unwind::DropOnUnwind;
use crate::{HandlerTimeout, Policy, ScopeBody};

pin_project! {
    /// Runs a handler and then closes the scope of its request. The response future of every front end.
    ///
    /// | what happens | the scope |
    /// |---|---|
    /// | the handler returns | closes with the exit of the response, or as `Failed` for an error of the service; the response is returned when all settling releases have ended |
    /// | the [timeout](crate::Policy::timeout) elapses | closes as `Cancelled` after the handler was dropped; the response is a 503 with a [`HandlerTimeout`] in its extensions |
    /// | the handler panics | closes as `Panicked` while the panic unwinds |
    /// | the future is dropped while the handler runs | closes as `Cancelled`, or `Panicked` while unwinding, after the handler was dropped |
    /// | the future is dropped while the scope closes | continues to close in the reaper, with the same exit |
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the request. This is what a server does when the client disconnects: see the last two
    /// rows.
    ///
    /// # Panics
    ///
    /// Panics if it is polled after completion. If the policy has a timeout, it also panics outside a tokio runtime with
    /// timers, as soon as the handler waits. A panic of the handler or of a [`Classify`](crate::Classify) propagates.
    ///
    /// # Examples
    ///
    /// A client that disconnects while the handler runs:
    ///
    /// ```
    /// use std::convert::Infallible;
    /// # use std::sync::Arc;
    ///
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// # use http_body_util::Empty;
    /// # use reqscope::Scopes;
    /// use reqscope_http::{Policy, RequestExt};
    ///
    /// # let (scopes, policy, mut request) = (Scopes::new(), Arc::new(Policy::new()), Request::new(()));
    /// let opened = policy.open(&scopes, &mut request);
    /// let scope = request.scope().clone();
    /// let response = opened.answer(async move {
    ///     request.scope().closed().await; // a handler that would run forever
    ///     Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    /// });
    /// drop(response);
    /// assert!(scope.is_closed());
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, B, E> {
        #[pin]
        state: State<F, B, E>,
        policy: Arc<Policy>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B, E> {
        Handling {
            // Fields are dropped in this order: the scope must not close while the handler still exists.
            #[pin]
            handler: F,
            deadline: Option<HandlerDeadline>,
            scope: Option<Scope>,
        },
        Closing {
            close: ReportedClose,
            answer: Option<Result<Response<ScopeBody<B>>, E>>,
        },
        Done,
    }
}

impl<F, B, E> ResponseFuture<F, B, E> {
    pub(crate) fn new(scope: Scope, deadline: Option<Instant>, policy: Arc<Policy>, handler: F) -> Self {
        let deadline = deadline.map(|at| HandlerDeadline { at, timer: None });
        ResponseFuture { state: State::Handling { handler, deadline, scope: Some(scope) }, policy }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ScopeBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match this.state.as_mut().project() {
            StateProjection::Handling { handler, deadline, scope } => {
                let unwinding = DropOnUnwind(scope);
                let polled = handler.poll(cx);
                let is_running = polled.is_pending()
                    && deadline.as_mut().is_none_or(|deadline| deadline.poll_passed(cx).is_pending());
                mem::forget(unwinding);
                if is_running {
                    return Poll::Pending;
                }
                let scope = scope.take().expect("it is taken only when this state ends");
                let (exit, answer) = match polled {
                    Poll::Ready(Ok(response)) => {
                        (this.policy.verdict(&response), Ok(response.map(ScopeBody::handler)))
                    }
                    Poll::Ready(Err(error)) => (Exit::Failed, Err(error)),
                    Poll::Pending => {
                        let deadline = deadline.as_ref().expect("it has passed").at;
                        (
                            Exit::Cancelled,
                            Ok(timed_out(this.policy.handler_timeout(deadline, scope.handle().label()))),
                        )
                    }
                };
                // Drop the handler first: a guard that it still holds then returns its handle before the scope closes.
                this.state.set(State::Done);
                let mut close = ReportedClose::begin(scope, exit);
                match Pin::new(&mut close).poll(cx) {
                    Poll::Ready(Ok(())) => Poll::Ready(answer),
                    Poll::Ready(Err(error)) => Poll::Ready(failed(this.policy, &close, answer, &error)),
                    Poll::Pending => {
                        this.state.set(State::Closing { close, answer: Some(answer) });
                        Poll::Pending
                    }
                }
            }
            StateProjection::Closing { close, answer } => {
                let closed = ready!(Pin::new(&mut *close).poll(cx));
                let answer = answer.take().expect("it is taken only when this state ends");
                let answer = match closed {
                    Ok(()) => answer,
                    Err(error) => failed(this.policy, close, answer, &error),
                };
                this.state.set(State::Done);
                Poll::Ready(answer)
            }
            StateProjection::Done => panic!("`ResponseFuture` polled after completion"),
        }
    }
}

/// The deadline of a handler.
struct HandlerDeadline {
    at: Instant,
    /// Created when the handler waits for the first time: one that answers at once needs none. Boxed, because the future
    /// that owns it is moved several times, and few have one.
    timer: Option<Pin<Box<Sleep>>>,
}

impl HandlerDeadline {
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(self.at))).as_mut().poll(cx)
    }
}

/// Reports a close that failed, and returns the response in its place.
#[cold]
fn failed<B, E>(
    policy: &Policy,
    close: &ReportedClose,
    answer: Result<Response<ScopeBody<B>>, E>,
    error: &CloseError,
) -> Result<Response<ScopeBody<B>>, E> {
    close.report(error, if answer.is_ok() { Sent::Replaced } else { Sent::ServiceError });
    policy.failed_settle(answer, error)
}

/// Reports a handler that exceeded its timeout, and returns the empty 503 for it.
#[cold]
fn timed_out<B>(timeout: HandlerTimeout) -> Response<ScopeBody<B>> {
    report::handler_timed_out(&timeout);
    let mut response = Response::new(ScopeBody::bytes(Default::default()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response.extensions_mut().insert(timeout);
    response
}
