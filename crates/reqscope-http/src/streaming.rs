//! What a [`LeaseBody`](crate::LeaseBody) owns: the source of its frames, the lease, and the lease's release.
//!
//! The lease is completed only by a poll that has returned the last frame or the end. A body that is dropped unpolled
//! may belong to a response that was never sent, even if it is empty. A server does not poll a body that reports its
//! end or a length of 0, so none is reported while there is a lease.

use std::any::type_name;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use reqscope::{Exit, Lease, Resource};

use crate::lease_cell::Contents;
use crate::report;
use crate::settling::{Settling, Work, end};
use crate::source::FrameSource;
use crate::stall::Stall;
use crate::unwind::drop_quietly;
use crate::{Classify, LeaseBodyError};

type FrameResult<B, R> = Result<Frame<<B as FrameSource<R>>::Data>, LeaseBodyError<<R as Resource>::Cause>>;

pin_project! {
    #[project = StreamingProjection]
    pub(crate) struct Streaming<B, R>
    where
        B: FrameSource<R>,
        R: Resource,
    {
        // `None` only while it is dropped.
        #[pin]
        source: Option<B>,
        // The bytes that the body has still to return, if its length was set by hand.
        pub(crate) remaining: Option<u64>,
        lease: Option<Lease<R>>,
        is_polled: bool,
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
            let mut this = this.project();
            if this.lease.is_some() && !*this.is_polled {
                // Almost a success, so it must not be silent.
                drop_quietly(|| {
                    let source = this.source.as_ref().as_pin_ref();
                    if source.is_some_and(|source| is_empty::<B, R>(&source, *this.remaining)) {
                        report::empty_unpolled(type_name::<R>());
                    }
                });
            }
            // Each part by itself: of two panics in the drop of a struct, the second would abort the process. The lease
            // is the last, because the source may use what it protects.
            drop_quietly(|| this.source.set(None));
            drop_quietly(|| *this.held = None);
            drop_quietly(|| *this.trailers = None);
        }
    }
}

impl<B, R> Streaming<B, R>
where
    B: FrameSource<R>,
    R: Resource,
{
    pub(crate) fn new(source: B, lease: Lease<R>) -> Self {
        Streaming {
            source: Some(source),
            remaining: None,
            lease: Some(lease),
            is_polled: false,
            trailers: None,
            work: Vec::new(),
            release: None,
            held: None,
        }
    }

    /// Returns the next frame. If it panics, the contents must be dropped while the panic unwinds.
    pub(crate) fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult<B, R>>> {
        let this = self.project();
        *this.is_polled = true;
        if this.release.is_none() {
            let mut source = this.source.as_pin_mut().expect("it is dropped with the contents");
            let frame = match ready!(source.as_mut().poll_frame(this.lease, cx)) {
                Some(Ok(frame)) => Some(frame),
                None => None,
                Some(Err(error)) => {
                    report::body_failed(type_name::<R>(), &*error);
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
            // The server may know the length, and ask for no more. With a classifier it does not, see `size_hint`.
            let is_at_end = || this.trailers.is_none() && is_empty::<B, R>(&source, *this.remaining);
            let is_last = frame.is_none() || trailers.is_some() || is_at_end();
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
        self.is_settled() && !self.source.as_ref().is_some_and(FrameSource::holds_lease)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.is_settled() && self.source.as_ref().is_none_or(FrameSource::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if let Some(frame) = &self.held {
            return SizeHint::with_exact(frame.data_ref().map_or(0, |data| data.remaining() as u64));
        }
        let hint = match self.remaining {
            Some(remaining) => SizeHint::with_exact(remaining),
            None => self.source.as_ref().map(FrameSource::size_hint).unwrap_or_default(),
        };
        // Of a body whose length it knows, a server polls neither the end nor the trailers.
        let must_be_polled = !self.is_settled() && (hint.upper() == Some(0) || self.trailers.is_some());
        if must_be_polled { SizeHint::default() } else { hint }
    }

    /// Returns whether neither the lease nor its release is here.
    fn is_settled(&self) -> bool {
        self.release.is_none() && self.lease.is_none()
    }
}

/// Returns whether nothing follows, as far as is known without a poll.
fn is_empty<B: FrameSource<R>, R: Resource>(source: &B, remaining: Option<u64>) -> bool {
    remaining == Some(0) || source.is_end_stream() || source.size_hint().exact() == Some(0)
}

impl<B, R> Contents for Streaming<B, R>
where
    B: FrameSource<R, Data: Send + 'static> + Send + 'static,
    R: Resource,
{
    fn exit(&self) -> Exit {
        self.release.as_ref().map_or(Exit::Cancelled, Settling::exit)
    }

    fn cancel(self: Pin<Box<Self>>, stall: Stall) {
        report::stalled(type_name::<R>(), stall);
    }
}
