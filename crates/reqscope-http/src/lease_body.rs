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
use crate::source::{BoxError, Chunks, Source};
use crate::unwind::OnUnwind;

pin_project! {
    /// A body that owns a [`Lease`], and ends it when it ends itself.
    ///
    /// `B` is a [`Body`], or [`Chunks`].
    ///
    /// A scope ends when the handler has returned; a body that is streamed after that needs its handle for longer.
    /// Take the handle out of the scope with [`Guard::detach`](reqscope::Guard::detach) and put it in here.
    ///
    /// | the body | the lease ends as |
    /// |---|---|
    /// | hands out its last frame, or its end | `Completed` |
    /// | fails | `Failed` |
    /// | panics while it is polled | `Panicked` |
    /// | is dropped before its end | `Cancelled`, or `Panicked` while unwinding |
    /// | is dropped, is empty, and was never asked for a frame (204, 304) | `Completed` |
    ///
    /// Where the release [settles](Resource::settles) something, such as a COMMIT, it is awaited *before* the last
    /// frame is handed out, and if it fails the body fails: the client sees a cut answer, not a whole one.
    /// Any other release is left to the reaper.
    ///
    /// What surprises:
    ///
    /// - Neither the end nor the drop of a body proves that the client has got it.
    /// - HTTP never asks a body of a known length for its end, only for its bytes. The length is taken from the
    ///   body's `size_hint`. Where you set a `content-length` by hand over a body that does not know its length, say
    ///   it here too ([`with_length`](LeaseBody::with_length)), or the lease ends as `Cancelled`.
    /// - The body of an answer to HEAD is dropped unasked. Unless it is empty that is `Cancelled`. Plain hyper over HTTP/2
    ///   does ask it, and sends what the client takes for an error: answer HEAD without a body there.
    /// - An empty body over a settling lease claims no length, so that HTTP asks for its end: it goes out as an
    ///   empty chunked one. Under 204 and 304 nobody asks, and nobody hears of a release that fails: complete the
    ///   lease in the handler instead.
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
        B: Source<R>,
        R: Resource,
    {
        #[pin]
        body: B,
        // What the body still has to hand out, where that was said by hand.
        remaining: Option<u64>,
        lease: Option<Lease<R>>,
        // Whether a `Completed` end of the lease has to be awaited.
        settles: bool,
        trailers: Option<Arc<dyn Classify>>,
        #[pin]
        release: Option<Release<R>>,
        // The last frame, which waits for that release.
        held: Option<Frame<B::Data>>,
    }

    impl<B, R> PinnedDrop for LeaseBody<B, R>
    where
        B: Source<R>,
        R: Resource,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Only an empty body comes here with its lease and at its end. Without the first question a panic
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
    /// The body `body`, with which `lease` ends, and which does not work with it: for a permit, a lock, a file that
    /// is removed afterwards.
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
    /// The chunks that `next` makes with the handle: rows of a query, blocks of a file.
    ///
    /// `next` gets the lease and gives it back with the next chunk, or with `None` when there is no more. If it
    /// answers with an error instead, the lease was dropped in it and so ends as `Cancelled`, which is right for a
    /// handle whose operation has failed half-way.
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
    B: Source<R>,
    R: Resource,
{
    fn over(body: B, lease: Lease<R>) -> Self {
        let settles = Lease::resource(&lease).settles(Exit::Completed);
        LeaseBody { body, remaining: None, lease: Some(lease), settles, trailers: None, release: None, held: None }
    }

    /// Says how many bytes the body has in all, where it does not know that itself. Too little said ends the lease before
    /// the body.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body::Body;
    /// # use http_body_util::StreamBody;
    /// # use reqscope::Resource;
    /// use reqscope_http::LeaseBody;
    ///
    /// /// A file, of which the stream does not know how long it is.
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

    /// Lets the trailers decide how the lease ends, as those of gRPC do. Without it, or without trailers, a body that
    /// came to its end is `Completed`.
    ///
    /// The classifier is asked as for a head, with the status 200.
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

/// Whether HTTP will not ask for another frame.
fn is_at_end<B: Source<R>, R: Resource>(body: &B, remaining: Option<u64>) -> bool {
    remaining == Some(0) || body.is_end_stream() || body.size_hint().exact() == Some(0)
}

impl<B, R> Body for LeaseBody<B, R>
where
    B: Source<R>,
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
            let unwinding = OnUnwind(this.lease);
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
            // From here on the reaper owns the release, whether its future is awaited or dropped.
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
        // HTTP asks a body of length 0 for nothing, and then the release could not be awaited.
        if !is_settled && hint.exact() == Some(0) { SizeHint::default() } else { hint }
    }
}

/// Why a [`LeaseBody`] failed.
///
/// ```
/// use reqscope::Error;
/// use reqscope_http::LeaseBodyError;
/// use std::error::Error as _;
/// # use std::io;
///
/// let failed: LeaseBodyError<io::Error> = LeaseBodyError::Release(Error::failed(io::Error::other("disk full")));
/// assert_eq!(failed.to_string(), "the release of the body's handle failed");
/// assert_eq!(failed.source().unwrap().to_string(), "the resource failed");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LeaseBodyError<C> {
    /// The body itself failed.
    Body(BoxError),
    /// The release of the handle failed, and with it what the body told of.
    Release(Error<C>),
}

impl<C> fmt::Display for LeaseBodyError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeaseBodyError::Body(_) => "the body failed",
            LeaseBodyError::Release(_) => "the release of the body's handle failed",
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
