//! Where a [`LeaseBody`](crate::LeaseBody) gets its frames from: a body that does not use the handle, or closures that do.

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
    fn holds_lease(&self) -> bool;

    fn is_end_stream(&self) -> bool;

    fn size_hint(&self) -> SizeHint;
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

    fn holds_lease(&self) -> bool {
        false
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(self)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(self)
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
        // Owns the lease while it runs: if it is dropped, the lease ends as cancelled.
        #[pin]
        running: Option<Fut>,
    }
}

impl<F, Fut> Chunks<F, Fut> {
    pub(crate) fn new(next: F) -> Self {
        Chunks { next, running: None }
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
        let mut this = self.project();
        if this.running.is_none() {
            // Without a lease the body has ended already.
            let Some(lease) = lease.take() else { return Poll::Ready(None) };
            this.running.set(Some((this.next)(lease)));
        }
        let running = this.running.as_mut().as_pin_mut().expect("it was set above");
        let made = ready!(running.poll(cx));
        this.running.set(None);
        Poll::Ready(match made {
            Ok((back, chunk)) => {
                *lease = Some(back);
                chunk.map(|data| Ok(Frame::data(data)))
            }
            Err(error) => Some(Err(error.into())),
        })
    }

    fn holds_lease(&self) -> bool {
        self.running.is_some()
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
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
        // `None` while `running` owns it, and after an error.
        state: Option<S>,
        // Owns the lease while it runs: if it is dropped, the lease ends as cancelled.
        #[pin]
        running: Option<Fut>,
    }
}

impl<S, F, Fut> Unfold<S, F, Fut> {
    pub(crate) fn new(state: S, next: F) -> Self {
        Unfold { next, state: Some(state), running: None }
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
        let mut this = self.project();
        if this.running.is_none() {
            // Without a lease the body has ended already.
            let Some(lease) = lease.take() else { return Poll::Ready(None) };
            let state = this.state.take().expect("it was returned with the lease");
            this.running.set(Some((this.next)(lease, state)));
        }
        let running = this.running.as_mut().as_pin_mut().expect("it was set above");
        let made = ready!(running.poll(cx));
        this.running.set(None);
        Poll::Ready(match made {
            Ok((back, state, chunk)) => {
                *lease = Some(back);
                *this.state = Some(state);
                chunk.map(|data| Ok(Frame::data(data)))
            }
            Err(error) => Some(Err(error.into())),
        })
    }

    fn holds_lease(&self) -> bool {
        self.running.is_some()
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
