//! The events of the feature `tracing`, for failures that no client can see. Without the feature, nothing happens here.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use reqscope::future::Close;
use reqscope::{CloseError, Exit, Scope};

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

#[cfg(feature = "tracing")]
pub(crate) mod events {
    use std::error::Error;
    use std::fmt;

    use reqscope::error::Chain;
    use reqscope::scope::Problem;
    use reqscope::{CloseError, ScopeHandle};
    use tracing::{error, warn};

    use super::Sent;
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

    /// A release that a body waited for has failed.
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
