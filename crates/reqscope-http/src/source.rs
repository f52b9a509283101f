//! Where a [`LeaseBody`](crate::LeaseBody) gets its frames from: a body that does not use the handle, or closures that
//! do.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use reqscope::{Lease, Resource};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A [`Body`] that may borrow the lease while it is polled.
pub trait FrameSource<R: Resource> {
    type Data: Buf;

    fn poll_frame(
        self: Pin<&mut Self>,
        lease: &mut Option<Lease<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, BoxError>>>;

    /// Returns whether the source has taken the lease and not returned it.
    fn holds_lease(&self) -> bool {
        false
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl<B, R> FrameSource<R> for B
where
    B: Body,
    B::Error: Into<BoxError>,
    R: Resource,
{
    type Data = B::Data;

    fn poll_frame(
        self: Pin<&mut Self>,
        _lease: &mut Option<Lease<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        Body::poll_frame(self, cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(self)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(self)
    }
}

pin_project! {
    /// The future of the next chunk, while it runs. It owns the lease: if it is dropped, the lease ends as cancelled.
    #[derive(Debug)]
    struct NextChunk<Fut> {
        #[pin]
        running: Option<Fut>,
    }
}

impl<Fut: Future> NextChunk<Fut> {
    /// Polls the future, and begins it if none runs. Returns `None` if `begin` does, because there is no lease.
    fn poll(
        self: Pin<&mut Self>,
        begin: impl FnOnce() -> Option<Fut>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Fut::Output>> {
        let mut running = self.project().running;
        if running.is_none() {
            let Some(next) = begin() else { return Poll::Ready(None) };
            running.set(Some(next));
        }
        let made = ready!(running.as_mut().as_pin_mut().expect("it was set above").poll(cx));
        running.set(None);
        Poll::Ready(Some(made))
    }
}

pin_project! {
    /// The chunks that a closure produces with a handle, created by [`LeaseBody::from_fn`](crate::LeaseBody::from_fn).
    ///
    /// # Examples
    ///
    /// The types of the closure can be left out when the type of a body is named:
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body::Body;
    /// use reqscope::{Lease, Resource};
    /// use reqscope_http::{Chunks, LeaseBody};
    ///
    /// fn one_chunk<R: Resource>(lease: Lease<R>) -> impl Body<Data = Bytes> + Send {
    ///     let mut chunk = Some(Bytes::from("rows"));
    ///     let body: LeaseBody<Chunks<_, _>, R> = LeaseBody::from_fn(lease, move |lease| {
    ///         let chunk = chunk.take();
    ///         async move { Ok::<_, std::io::Error>((lease, chunk)) }
    ///     });
    ///     body
    /// }
    /// ```
    #[derive(Debug)]
    pub struct Chunks<F, Fut> {
        next: F,
        #[pin]
        chunk: NextChunk<Fut>,
    }
}

impl<F, Fut> Chunks<F, Fut> {
    pub(crate) fn new(next: F) -> Self {
        Chunks { next, chunk: NextChunk { running: None } }
    }
}

impl<F, Fut, R, D, E> FrameSource<R> for Chunks<F, Fut>
where
    F: FnMut(Lease<R>) -> Fut,
    Fut: Future<Output = Result<(Lease<R>, Option<D>), E>>,
    R: Resource,
    D: Buf,
    E: Into<BoxError>,
{
    type Data = D;

    fn poll_frame(
        self: Pin<&mut Self>,
        lease: &mut Option<Lease<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<D>, BoxError>>> {
        let this = self.project();
        Poll::Ready(match ready!(this.chunk.poll(|| lease.take().map(this.next), cx)) {
            Some(Ok((back, chunk))) => {
                *lease = Some(back);
                chunk.map(|data| Ok(Frame::data(data)))
            }
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        })
    }

    fn holds_lease(&self) -> bool {
        self.chunk.running.is_some()
    }
}

pin_project! {
    /// The chunks that a closure produces with a handle and a state, created by
    /// [`LeaseBody::unfold`](crate::LeaseBody::unfold).
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body::Body;
    /// use reqscope::{Lease, Resource};
    /// use reqscope_http::{LeaseBody, Unfold};
    ///
    /// fn countdown<R: Resource>(lease: Lease<R>) -> impl Body<Data = Bytes> + Send {
    ///     let body: LeaseBody<Unfold<_, _, _>, R> = LeaseBody::unfold(lease, 3, |lease, left| async move {
    ///         let line = (left > 0).then(|| Bytes::from(format!("{left}\n")));
    ///         Ok::<_, std::io::Error>((lease, left - 1, line))
    ///     });
    ///     body
    /// }
    /// ```
    #[derive(Debug)]
    pub struct Unfold<S, F, Fut> {
        next: F,
        // `None` while the future of a chunk owns it, and after an error.
        state: Option<S>,
        #[pin]
        chunk: NextChunk<Fut>,
    }
}

impl<S, F, Fut> Unfold<S, F, Fut> {
    pub(crate) fn new(state: S, next: F) -> Self {
        Unfold { next, state: Some(state), chunk: NextChunk { running: None } }
    }
}

impl<S, F, Fut, R, D, E> FrameSource<R> for Unfold<S, F, Fut>
where
    F: FnMut(Lease<R>, S) -> Fut,
    Fut: Future<Output = Result<(Lease<R>, S, Option<D>), E>>,
    R: Resource,
    D: Buf,
    E: Into<BoxError>,
{
    type Data = D;

    fn poll_frame(
        self: Pin<&mut Self>,
        lease: &mut Option<Lease<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<D>, BoxError>>> {
        let this = self.project();
        let begin = || {
            let lease = lease.take()?;
            Some((this.next)(lease, this.state.take().expect("it was returned with the lease")))
        };
        Poll::Ready(match ready!(this.chunk.poll(begin, cx)) {
            Some(Ok((back, state, chunk))) => {
                *lease = Some(back);
                *this.state = Some(state);
                chunk.map(|data| Ok(Frame::data(data)))
            }
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        })
    }

    fn holds_lease(&self) -> bool {
        self.chunk.running.is_some()
    }
}
