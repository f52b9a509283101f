//! What a [`LeaseBody`](crate::LeaseBody) owns: the source of its frames, the lease, and the lease's release.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{mem, thread};

use bytes::Buf;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use reqscope::{Exit, Lease, Resource};

use crate::lease_cell::Contents;
use crate::settling::{Settling, Work, end};
use crate::source::FrameSource;
use crate::stall::Stall;
use crate::unwind::{DropOnUnwind, drop_quietly};
use crate::{Classify, LeaseBodyError};

type FrameResult<B, R> = Result<Frame<<B as FrameSource<R>>::Data>, LeaseBodyError<<R as Resource>::Cause>>;

pin_project! {
    #[project = StreamingProjection]
    pub(crate) struct Streaming<B, R>
    where
        B: FrameSource<R>,
        R: Resource,
    {
        #[pin]
        source: B,
        // The bytes that the body has still to return, if its length was set by hand.
        pub(crate) remaining: Option<u64>,
        lease: Option<Lease<R>>,
        // Whether a `Completed` end of the lease must be awaited.
        settles: bool,
        pub(crate) trailers: Option<Arc<dyn Classify>>,
        // What runs after the release of a completed lease.
        pub(crate) work: Vec<Work>,
        release: Option<Settling<R>>,
        // The last frame, held back until that release has ended.
        held: Option<Frame<B::Data>>,
    }

    impl<B, R> PinnedDrop for Streaming<B, R>
    where
        B: FrameSource<R>,
        R: Resource,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Only an empty body that was never polled still has its lease at its end. Without the first check a panic
            // elsewhere in the connection would commit.
            if !thread::panicking() && is_at_end::<B, R>(&this.source, *this.remaining) {
                if let Some(lease) = this.lease.take() {
                    drop(end(lease, Exit::Completed, mem::take(this.work)));
                }
            }
        }
    }
}

impl<B, R> Streaming<B, R>
where
    B: FrameSource<R>,
    R: Resource,
{
    pub(crate) fn new(source: B, lease: Lease<R>) -> Self {
        let settles = Lease::resource(&lease).settles(Exit::Completed);
        Streaming {
            source,
            remaining: None,
            lease: Some(lease),
            settles,
            trailers: None,
            work: Vec::new(),
            release: None,
            held: None,
        }
    }

    pub(crate) fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult<B, R>>> {
        let mut this = self.project();
        if this.release.is_none() {
            let unwinding = DropOnUnwind(this.lease);
            let polled = this.source.as_mut().poll_frame(unwinding.0, cx);
            mem::forget(unwinding);
            let frame = match ready!(polled) {
                Some(Ok(frame)) => Some(frame),
                None => None,
                Some(Err(error)) => {
                    if let Some(lease) = this.lease.take() {
                        drop(Lease::fail(lease));
                    }
                    return Poll::Ready(Some(Err(LeaseBodyError::Body(error))));
                }
            };
            if let (Some(remaining), Some(data)) = (this.remaining.as_mut(), frame.as_ref().and_then(Frame::data_ref))
            {
                *remaining = remaining.saturating_sub(data.remaining() as u64);
            }
            let trailers = frame.as_ref().and_then(Frame::trailers_ref);
            let is_last = frame.is_none() || trailers.is_some() || is_at_end::<B, R>(&this.source, *this.remaining);
            let Some(lease) = this.lease.take_if(|_| is_last) else {
                return Poll::Ready(frame.map(Ok));
            };
            let exit = match (this.trailers, trailers) {
                (Some(classify), Some(trailers)) => classify.classify(StatusCode::OK, trailers),
                _ => Exit::Completed,
            };
            let Some(release) = end(lease, exit, mem::take(this.work)) else {
                return Poll::Ready(frame.map(Ok));
            };
            *this.held = frame;
            *this.release = Some(release);
        }
        let release = this.release.as_mut().expect("it was set above");
        let released = ready!(release.poll(cx));
        *this.release = None;
        let held = this.held.take();
        Poll::Ready(match released {
            Ok(()) => held.map(Ok),
            Err(error) => Some(Err(error)),
        })
    }

    /// Returns whether the lease has ended, and its release need not be polled.
    pub(crate) fn has_ended(&self) -> bool {
        self.lease.is_none() && self.release.is_none() && !self.source.holds_lease()
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.is_settled() && self.source.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if let Some(frame) = &self.held {
            return SizeHint::with_exact(frame.data_ref().map_or(0, |data| data.remaining() as u64));
        }
        let hint = match self.remaining {
            Some(remaining) => SizeHint::with_exact(remaining),
            None => self.source.size_hint(),
        };
        // A server does not poll a body of length 0, so the release would not be awaited.
        if !self.is_settled() && hint.exact() == Some(0) { SizeHint::default() } else { hint }
    }

    fn is_settled(&self) -> bool {
        self.release.is_none() && !(self.settles && self.lease.is_some())
    }
}

/// Returns whether the server will not poll for another frame.
fn is_at_end<B: FrameSource<R>, R: Resource>(source: &B, remaining: Option<u64>) -> bool {
    remaining == Some(0) || source.is_end_stream() || source.size_hint().exact() == Some(0)
}

impl<B, R> Contents for Streaming<B, R>
where
    B: FrameSource<R, Data: Send + 'static> + Send + 'static,
    R: Resource,
{
    fn cancel(mut self: Pin<Box<Self>>, stall: Stall) {
        #[cfg(feature = "tracing")]
        crate::report::events::stalled(std::any::type_name::<R>(), stall);
        #[cfg(not(feature = "tracing"))]
        let _unused = stall;
        let lease = self.as_mut().project().lease.take();
        // The source first: it may use what the lease protects. A release that is running goes to the reaper. A panic
        // of the source's `Drop` must not decide about the lease.
        drop_quietly(self);
        if let Some(lease) = lease {
            drop(Lease::end(lease, Exit::Cancelled));
        }
    }
}
