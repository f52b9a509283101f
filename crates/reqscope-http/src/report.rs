//! The events of the feature `tracing`, for failures that no client can see. Without the feature, nothing happens here.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use reqscope::future::Close;
use reqscope::{CloseError, Exit, Scope};

#[cfg(feature = "tracing")]
pub(crate) use events::{body_failed, empty_unpolled, handler_timed_out, release_failed, stalled};
#[cfg(not(feature = "tracing"))]
pub(crate) use silence::{body_failed, empty_unpolled, handler_timed_out, release_failed, stalled};

/// Where the response of a scope that could not be closed as requested went.
#[derive(Clone, Copy)]
pub(crate) enum Sent {
    /// The hook's response was sent in its place.
    Replaced,
    /// The service returned an error instead of a response.
    ServiceError,
    /// The client has disconnected.
    #[cfg(feature = "tracing")]
    Nowhere,
}

/// A close whose error is reported even if its future is dropped.
pub(crate) struct ReportedClose {
    close: Close,
    #[cfg(feature = "tracing")]
    scope: reqscope::ScopeHandle,
    #[cfg(feature = "tracing")]
    is_pending: bool,
}

impl ReportedClose {
    pub(crate) fn begin(scope: Scope, exit: Exit) -> Self {
        ReportedClose {
            #[cfg(feature = "tracing")]
            scope: scope.handle().clone(),
            #[cfg(feature = "tracing")]
            is_pending: true,
            close: scope.close(exit),
        }
    }

    /// Reports the error of this close.
    #[cold]
    pub(crate) fn report(&self, error: &CloseError, sent: Sent) {
        #[cfg(feature = "tracing")]
        events::not_closed(&self.scope, error, sent);
        #[cfg(not(feature = "tracing"))]
        let _unused = (error, sent);
    }
}

impl Future for ReportedClose {
    type Output = Result<(), CloseError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let closed = Pin::new(&mut self.close).poll(cx);
        #[cfg(feature = "tracing")]
        {
            self.is_pending = closed.is_pending();
        }
        closed
    }
}

#[cfg(feature = "tracing")]
impl Drop for ReportedClose {
    fn drop(&mut self) {
        if !self.is_pending {
            return;
        }
        // The close continues in the reaper. Without a runtime, the observer is all there is.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let scope = self.scope.clone();
            drop(runtime.spawn(async move {
                if let Err(error) = scope.ended().await {
                    events::not_closed(&scope, &error, Sent::Nowhere);
                }
            }));
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod silence {
    use std::error::Error;

    use crate::HandlerTimeout;
    use crate::stall::Stall;

    pub(crate) fn body_failed(_: &'static str, _: &(dyn Error + 'static)) {}

    pub(crate) fn empty_unpolled(_: &'static str) {}

    pub(crate) fn handler_timed_out(_: &HandlerTimeout) {}

    pub(crate) fn release_failed(_: &'static str, _: &(dyn Error + 'static), _client_is_gone: bool) {}

    pub(crate) fn stalled(_: &'static str, _: Stall) {}
}

#[cfg(feature = "tracing")]
mod events {
    use std::error::Error;
    use std::fmt;

    use reqscope::error::Chain;
    use reqscope::scope::Problem;
    use reqscope::{CloseError, ScopeHandle};
    use tracing::{error, warn};

    use super::Sent;
    use crate::HandlerTimeout;
    use crate::stall::Stall;

    pub(super) fn not_closed(scope: &ScopeHandle, error: &CloseError, sent: Sent) {
        let label = scope.label();
        error!(
            target: "reqscope::scope",
            label = label.as_ref().map(tracing::field::display),
            requested = %error.requested(),
            verdict = %error.verdict(),
            unknown_outcome = error.is_unknown_outcome(),
            response = match sent {
                Sent::Replaced => "replaced",
                Sent::ServiceError => "error of the service",
                Sent::Nowhere => "none, the client has disconnected",
            },
            error = %Whole(error),
            "a scope could not be closed as requested",
        );
    }

    /// A body has failed after the head of its response was sent, so that only the client sees it, as a truncated body.
    #[cold]
    pub(crate) fn body_failed(resource: &'static str, error: &(dyn Error + 'static)) {
        error!(target: "reqscope::body", resource, error = %Chain(error), "a response body failed");
    }

    /// An empty body was dropped unpolled: its response was not sent, or has no body by its status.
    #[cold]
    pub(crate) fn empty_unpolled(resource: &'static str) {
        warn!(
            target: "reqscope::body",
            resource,
            "an empty response body was dropped without having been polled, so its lease was not completed; with a \
             204, a 304 or a HEAD, complete the lease in the handler",
        );
    }

    /// The client has received a 503 that does not say why.
    #[cold]
    pub(crate) fn handler_timed_out(timeout: &HandlerTimeout) {
        warn!(
            target: "reqscope::scope",
            label = timeout.label().map(tracing::field::display),
            elapsed = ?timeout.elapsed(),
            timeout = ?timeout.timeout(),
            "a handler exceeded its timeout and was dropped; its client received a 503",
        );
    }

    /// A release that a body waited for, or would have, has failed.
    #[cold]
    pub(crate) fn release_failed(resource: &'static str, error: &(dyn Error + 'static), client_is_gone: bool) {
        error!(
            target: "reqscope::body",
            resource,
            client_is_gone,
            error = %Chain(error),
            "the handle of a response body could not be released",
        );
    }

    pub(crate) fn stalled(resource: &'static str, stall: Stall) {
        warn!(target: "reqscope::body", resource, "{stall}");
    }

    /// The error of a close with the causes of each of its problems. The chain of `CloseError` itself has room for one.
    struct Whole<'a>(&'a CloseError);

    impl fmt::Display for Whole<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mut separator = "";
            for problem in self.0.problems() {
                write!(f, "{separator}{problem}")?;
                if let Problem::ReleaseFailed { error, .. } = problem {
                    write!(f, ": {}", Chain(&**error))?;
                }
                separator = "; ";
            }
            Ok(())
        }
    }
}
