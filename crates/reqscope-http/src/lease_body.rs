use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{mem, thread};

use bytes::Buf;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use reqscope::future::Release;
use reqscope::{Error, Exit, Lease, Resource};

use crate::Classify;
use crate::source::{BoxError, Chunks, FrameSource};
use crate::unwind::DropOnUnwind;

pin_project! {
    /// A response body that owns a [`Lease`] and ends it together with the body.
    ///
    /// `B` is a [`Body`], or [`Chunks`].
    ///
    /// A scope closes when the handler has returned, but a body that is streamed afterwards needs its handle for
    /// longer. Take the handle out of the scope with [`Guard::detach`](reqscope::Guard::detach) and pass the lease to
    /// [`new`](LeaseBody::new) or [`from_fn`](LeaseBody::from_fn).
    ///
    /// | the body | the lease ends as |
    /// |---|---|
    /// | returns its last frame, or its end | `Completed` |
    /// | returns an error | `Failed` |
    /// | panics while it is polled | `Panicked` |
    /// | is dropped before its end | `Cancelled`, or `Panicked` while unwinding |
    /// | is empty and dropped without having been polled (204, 304) | `Completed` |
    ///
    /// A [settling](Resource::settles) release, such as a COMMIT, is awaited *before* the last frame is returned. If it
    /// fails, the body fails, and the client sees a truncated response instead of a complete one. Any other release is
    /// left to the reaper.
    ///
    /// # Pitfalls
    ///
    /// - Neither the end nor the drop of a body proves that the client has received it.
    /// - A server never polls a body of known length for its end, only for its bytes. The length is taken from the
    ///   body's `size_hint`. If you set a `content-length` by hand on a body that does not know its length, set it here
    ///   too ([`with_length`](LeaseBody::with_length)), or the lease ends as `Cancelled`.
    /// - The body of a response to HEAD is dropped without being polled; unless it is empty, the lease ends as
    ///   `Cancelled`. Over HTTP/2 plain hyper does poll it, and sends frames that clients treat as an error, so respond
    ///   to HEAD without a body there.
    /// - An empty body over a settling lease reports no length, so that the server polls it to its end; it is sent as
    ///   an empty chunked body. With 204 and 304 it is not polled at all, and a failed release is not reported to the
    ///   client: complete the lease in the handler instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use bytes::Bytes;
    /// use http::Response;
    /// use http_body_util::{BodyExt, Full};
    /// use reqscope::Lease;
    /// use reqscope_http::LeaseBody;
    /// # use reqscope_testkit::Probe;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (resource, probe) = { let probe = Probe::new().settling(); (Arc::new(probe.clone()), probe) };
    /// let lease = Lease::acquire(&resource).await?;
    /// let response = Response::new(LeaseBody::new(Full::new(Bytes::from("rows")), lease));
    ///
    /// let body = response.into_body().collect().await?; // what the server does
    /// assert_eq!(probe.counts().released, 1);
    /// # assert_eq!(body.to_bytes(), "rows");
    /// # Ok(())
    /// # }
    /// ```
    pub struct LeaseBody<B, R>
    where
        B: FrameSource<R>,
        R: Resource,
    {
        #[pin]
        body: B,
        // The bytes that the body has still to return, if its length was set by hand.
        remaining: Option<u64>,
        lease: Option<Lease<R>>,
        // Whether a `Completed` end of the lease must be awaited.
        settles: bool,
        trailers: Option<Arc<dyn Classify>>,
        #[pin]
        release: Option<Release<R>>,
        // The last frame, held back until that release has ended.
        held: Option<Frame<B::Data>>,
    }

    impl<B, R> PinnedDrop for LeaseBody<B, R>
    where
        B: FrameSource<R>,
        R: Resource,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Only an empty body that was never polled still has its lease at its end. Without the first check a panic
            // elsewhere in the connection would commit.
            if !thread::panicking() && is_at_end::<B, R>(&this.body, *this.remaining) {
                if let Some(lease) = this.lease.take() {
                    drop(Lease::complete(lease));
                }
            }
        }
    }
}

impl<B, R> LeaseBody<B, R>
where
    B: Body,
    B::Error: Into<BoxError>,
    R: Resource,
{
    /// Creates a body that returns the frames of `body`, which does not use the handle, and then ends `lease`. For a
    /// permit, a lock, or a file that is removed afterwards.
    pub fn new(body: B, lease: Lease<R>) -> Self {
        Self::over(body, lease)
    }
}

impl<R, F, Fut, D, E> LeaseBody<Chunks<F, Fut>, R>
where
    R: Resource,
    F: FnMut(Lease<R>) -> Fut,
    Fut: Future<Output = Result<(Lease<R>, Option<D>), E>>,
    D: Buf,
    E: Into<BoxError>,
{
    /// Creates a body from the chunks that `next` produces with the handle: rows of a query, blocks of a file.
    ///
    /// `next` receives the lease and returns it with the next chunk, or with `None` at the end. If it returns an error
    /// instead, the lease was dropped inside it and ends as `Cancelled`, which is right for a handle whose operation
    /// failed midway.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use bytes::Bytes;
    /// # use http_body_util::BodyExt;
    /// # use reqscope::Lease;
    /// use reqscope_http::LeaseBody;
    /// # use reqscope_testkit::{Probe, Scripted};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let resource = Arc::new(Probe::new().settling());
    /// # let lease = Lease::acquire(&resource).await?;
    /// let mut left = 8;
    /// let body = LeaseBody::from_fn(lease, move |mut lease| {
    ///     let is_more = left > 0;
    ///     left -= 1;
    ///     async move {
    ///         if !is_more {
    ///             return Ok::<_, reqscope::Error<Scripted>>((lease, None));
    ///         }
    ///         lease.operate().await?;
    ///         Ok((lease, Some(Bytes::from_static(b"a block"))))
    ///     }
    /// });
    /// # assert_eq!(body.collect().await?.to_bytes().len(), 8 * 7);
    /// # assert_eq!(resource.counts().released, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_fn(lease: Lease<R>, next: F) -> Self {
        Self::over(Chunks::new(next), lease)
    }
}

impl<B, R> LeaseBody<B, R>
where
    B: FrameSource<R>,
    R: Resource,
{
    fn over(body: B, lease: Lease<R>) -> Self {
        let settles = Lease::resource(&lease).settles(Exit::Completed);
        LeaseBody { body, remaining: None, lease: Some(lease), settles, trailers: None, release: None, held: None }
    }

    /// Sets the total number of bytes, for a body whose `size_hint` is not exact. Defaults to the body's `size_hint`,
    /// because that of most bodies is exact. If `length` is too small, the lease ends before the body.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body::Body;
    /// # use http_body_util::StreamBody;
    /// # use reqscope::Resource;
    /// use reqscope_http::LeaseBody;
    ///
    /// /// A file, sent by a stream that does not know its length.
    /// fn of_file<B, R>(body: LeaseBody<B, R>, length: u64) -> LeaseBody<B, R>
    /// where
    ///     B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static>,
    ///     R: Resource,
    /// {
    ///     body.with_length(length) // the same as in the `content-length`
    /// }
    /// ```
    #[must_use]
    pub fn with_length(mut self, length: u64) -> Self {
        self.remaining = Some(length);
        self
    }

    /// Sets how trailers, such as those of gRPC, are turned into the exit of the lease. Defaults to no classifier,
    /// because few bodies have trailers: a body that reaches its end then ends its lease as `Completed`, as does a body
    /// without trailers.
    ///
    /// The classifier is called as for a head, with the status 200.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// # use bytes::Bytes;
    /// # use http::HeaderMap;
    /// # use http_body_util::{BodyExt, Empty};
    /// use reqscope::{Exit, Lease};
    /// use reqscope_http::{ByGrpcStatus, LeaseBody};
    /// # use reqscope_testkit::Probe;
    ///
    /// # let rows = Arc::new(Probe::new());
    /// # let lease = Lease::acquire(&rows).await.unwrap();
    /// # let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "5".parse().unwrap())]);
    /// # let call = Empty::<Bytes>::new().with_trailers(std::future::ready(Some(Ok(trailers))));
    /// let body = LeaseBody::new(call, lease).classify_trailers(ByGrpcStatus);
    /// body.collect().await.unwrap(); // its trailers say `grpc-status: 5`
    /// # tokio::task::yield_now().await;
    /// assert_eq!(rows.record(0).exits, [Exit::Failed]);
    /// # });
    /// ```
    #[must_use]
    pub fn classify_trailers(mut self, classify: impl Classify) -> Self {
        self.trailers = Some(Arc::new(classify));
        self
    }
}

/// Returns whether the server will not poll for another frame.
fn is_at_end<B: FrameSource<R>, R: Resource>(body: &B, remaining: Option<u64>) -> bool {
    remaining == Some(0) || body.is_end_stream() || body.size_hint().exact() == Some(0)
}

impl<B, R> Body for LeaseBody<B, R>
where
    B: FrameSource<R>,
    R: Resource,
{
    type Data = B::Data;
    type Error = LeaseBodyError<R::Cause>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        if this.release.is_none() {
            let unwinding = DropOnUnwind(this.lease);
            let polled = this.body.as_mut().poll_frame(unwinding.0, cx);
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
            let is_last = frame.is_none() || trailers.is_some() || is_at_end::<B, R>(&this.body, *this.remaining);
            let Some(lease) = this.lease.take_if(|_| is_last) else {
                return Poll::Ready(frame.map(Ok));
            };
            let exit = match (this.trailers, trailers) {
                (Some(classify), Some(trailers)) => classify.classify(StatusCode::OK, trailers),
                _ => Exit::Completed,
            };
            let settles = Lease::resource(&lease).settles(exit);
            // From here on the reaper owns the release, no matter whether its future is awaited or dropped.
            let release = Lease::end(lease, exit);
            if !settles {
                return Poll::Ready(frame.map(Ok));
            }
            *this.held = frame;
            this.release.set(Some(release));
        }
        let release = this.release.as_mut().as_pin_mut().expect("it was set above");
        let released = ready!(release.poll(cx));
        this.release.set(None);
        let held = this.held.take();
        Poll::Ready(match released {
            Ok(()) => held.map(Ok),
            Err(error) => Some(Err(LeaseBodyError::Release(error))),
        })
    }

    fn is_end_stream(&self) -> bool {
        let is_settled = self.release.is_none() && !(self.settles && self.lease.is_some());
        is_settled && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if let Some(frame) = &self.held {
            return SizeHint::with_exact(frame.data_ref().map_or(0, |data| data.remaining() as u64));
        }
        let hint = match self.remaining {
            Some(remaining) => SizeHint::with_exact(remaining),
            None => self.body.size_hint(),
        };
        let is_settled = self.release.is_none() && !(self.settles && self.lease.is_some());
        // A server does not poll a body of length 0, so the release would not be awaited.
        if !is_settled && hint.exact() == Some(0) { SizeHint::default() } else { hint }
    }
}

/// The error of a [`LeaseBody`].
///
/// # Examples
///
/// ```
/// use reqscope::Error;
/// use reqscope_http::LeaseBodyError;
/// use std::error::Error as _;
/// # use std::io;
///
/// let failed: LeaseBodyError<io::Error> = LeaseBodyError::Release(Error::failed(io::Error::other("disk full")));
/// assert_eq!(failed.to_string(), "failed to release the handle of the response body");
/// assert_eq!(failed.source().unwrap().to_string(), "the resource failed");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LeaseBodyError<C> {
    /// The body itself failed.
    Body(BoxError),
    /// The release of the handle failed, such as the COMMIT of the data that the body consists of.
    Release(Error<C>),
}

impl<C> fmt::Display for LeaseBodyError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeaseBodyError::Body(_) => "the response body failed",
            LeaseBodyError::Release(_) => "failed to release the handle of the response body",
        })
    }
}

impl<C: StdError + 'static> StdError for LeaseBodyError<C> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            LeaseBodyError::Body(error) => Some(&**error),
            LeaseBodyError::Release(error) => Some(error),
        }
    }
}
