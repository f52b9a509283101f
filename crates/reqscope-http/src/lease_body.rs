use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use reqscope::{Lease, Resource};

use crate::lease_cell::LeaseCell;
use crate::source::{BoxError, Chunks, FrameSource, Unfold};
use crate::stall::Polled;
use crate::streaming::Streaming;
use crate::unwind::QuietFuture;
use crate::{Classify, LeaseBodyError};

/// A response body that owns a [`Lease`] and ends it together with the body.
///
/// `B` is a [`Body`], [`Chunks`] or [`Unfold`].
///
/// A scope closes when the handler has returned, but a body that is streamed afterwards needs its handle for longer.
/// Take the handle out of the scope with [`Guard::detach`](reqscope::Guard::detach) and pass the lease to
/// [`new`](LeaseBody::new), [`from_fn`](LeaseBody::from_fn) or [`unfold`](LeaseBody::unfold).
///
/// | the body | the lease ends as |
/// |---|---|
/// | returns its last frame, or its end | `Completed` |
/// | returns an error | `Failed`; with `from_fn` and `unfold` `Cancelled`, unless the closure has ended the lease |
/// | panics while it is polled | `Panicked` |
/// | is dropped before its end, or without having been polled, even if it is empty | `Cancelled`, or `Panicked` while unwinding |
/// | is not read by its client, or too slowly ([stalls](#stalled-clients)) | `Cancelled` |
///
/// A [settling](Resource::settles) release, such as a COMMIT, is awaited *before* the last frame is returned. If it
/// fails, the body fails, and the client sees a truncated response instead of a complete one. Any other release is left
/// to the reaper.
///
/// # Stalled clients
///
/// A client that does not read its response must not keep a handle: with HTTP/2 it is enough never to open the window
/// of a stream. No timeout of the handler, the socket or the kernel limits that, so the body does:
///
/// - When the server owes it a poll for 30 s ([`stall_timeout`](LeaseBody::stall_timeout)), the body has *stalled*. It
///   is dropped with its lease, which ends as `Cancelled`, even if the server never polls it again. If the server does,
///   it gets [`LeaseBodyError::Stalled`].
/// - The time runs from the creation of the body to its first poll, from a returned frame to the next poll, and from
///   the moment the body's source has something new to the poll. While the body waits for its source it rests: a query
///   may take a minute, and an event stream may be quiet for hours.
/// - Each frame gives back as much of the time as its bytes take at 240 bytes per second
///   ([`min_rate`](LeaseBody::min_rate)), but never more than was used. So a client that takes one frame every 29 s can
///   only go on if it takes 7 kB each time.
///
/// A frame must be taken within 30 s, however large it is. Over HTTP/2 the server asks for the next one when the client
/// opens its window again. Many clients do so only when they have read half of the window, so such a client must read
/// half of its window in 30 s: 1.1 kB per second with the usual 64 kB, and more with a larger window.
///
/// Over HTTP/1 the kernel decides when the server asks for more, and it takes a part of the response ahead of the
/// client. On sockets that `reqscope-hyper` accepts on Linux (`Tcp::notsent_lowat`), it takes about 250 kB and then
/// asks for up to 170 kB at a time, so a download that is longer than that needs 6 kB per second. On the sockets of
/// other servers, and on other systems, it may take up to some megabytes, and more only when a third of that has been
/// read: over Linux's loopback 1.4 MB at a time, which needs 50 kB per second. Set `TCP_NOTSENT_LOWAT` on the sockets
/// of such a server, or raise the timeout of routes that send more to slower clients.
///
/// The timer runs on the runtime that polled the body last, at first on the one that created it. A body that is created
/// outside of a runtime begins to count at its first poll. On a runtime without timers there is no limit, and the panic
/// hook reports that once per body.
///
/// A body costs about 2,200 instructions, four allocations and 700 bytes, timer included, and each frame 600
/// instructions; a plain request over hyper costs 9,200. There is no task per body.
///
/// # Pitfalls
///
/// - `Completed` means that the server has asked for the end of the body, not that the client has received it. Neither
///   the end nor the drop of a body proves that.
/// - A server never polls a body of known length for its end, only for its bytes. The length is taken from the body's
///   `size_hint`. If you set a `content-length` by hand on a body that does not know its length, set it here too
///   ([`with_length`](LeaseBody::with_length)), or the lease ends as `Cancelled`.
/// - An empty body reports no length, so that the server polls it to its end; over HTTP/1 it is sent as an empty
///   chunked body. A server does not poll it where a response has no body: with 204 and 304 over HTTP/1, with a
///   `content-length: 0` set by hand, and with HEAD. The lease then ends as `Cancelled`, because such a body cannot be
///   told from one whose response was never sent. Complete the lease in the handler instead ([`Lease::complete`]), and
///   return a body without it.
/// - The body of a response to HEAD is dropped without being polled, so its lease ends as `Cancelled`. Over HTTP/2
///   plain hyper does poll it, and sends frames that clients treat as an error, so respond to HEAD without a body
///   there.
/// - With [`classify_trailers`](LeaseBody::classify_trailers) the body reports no length, because a server that knows
///   the length does not ask for trailers.
/// - To a client that speaks HTTP/1.0, a body of unknown length ends where the connection closes. Such a client cannot
///   tell a body that was cut (an error, a stall, a failed COMMIT) from a complete one. Where HTTP/1.0 is spoken, as by
///   some proxies, send a length: set it with [`with_length`](LeaseBody::with_length), or collect the body in the
///   handler. Or end the body with something by which its reader knows the end: a last line, a closing bracket, a
///   checksum.
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
    cell: Arc<LeaseCell<Streaming<B, R>>>,
    /// Tells the cell that the source has something new, and then wakes the server.
    waker: Waker,
    hints: Hints,
    /// Whether a poll has panicked, which the next one reports.
    has_panicked: bool,
}

/// What the server asks between polls. Kept here, so that the source is not asked under a lock.
struct Hints {
    is_end_stream: bool,
    size: SizeHint,
}

impl<B, R> LeaseBody<B, R>
where
    B: Body<Data: Send + 'static, Error: Into<BoxError>> + Send + 'static,
    R: Resource,
{
    /// Creates a body that returns the frames of `body`, which does not use the handle, and then ends `lease`. For a
    /// permit, a lock, or a file that is removed afterwards.
    pub fn new(body: B, lease: Lease<R>) -> Self {
        over(body, lease)
    }
}

impl<R, F, Fut, D, E> LeaseBody<Chunks<F, Fut>, R>
where
    R: Resource,
    F: FnMut(Lease<R>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(Lease<R>, Option<D>), E>> + Send + 'static,
    D: Buf + Send + 'static,
    E: Into<BoxError>,
{
    /// Creates a body from the chunks that `next` produces with the handle: rows of a query, blocks of a file.
    ///
    /// `next` is called when the server asks for a frame. It receives the lease and returns it with the next chunk, or
    /// with `None` at the end. An empty chunk is not the end, and is sent as an empty frame.
    ///
    /// If `next` returns an error instead, the lease was dropped inside it and ends as `Cancelled`, which is right for
    /// a handle whose operation failed midway: a pool proves it before its next use. To end it as `Failed`, pass it to
    /// [`Lease::fail`] before returning the error.
    ///
    /// The future of a chunk owns the lease while it runs, and it cannot borrow from the closure. What changes from
    /// chunk to chunk is computed before the future begins, as below, or returned with the chunk
    /// ([`unfold`](LeaseBody::unfold)). The compiler needs the type of the error: write `Ok::<_, E>(…)`.
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
    /// let mut days = 1..=7;
    /// let body = LeaseBody::from_fn(lease, move |mut lease| {
    ///     let day = days.next();
    ///     async move {
    ///         let Some(day) = day else {
    ///             return Ok::<_, reqscope::Error<Scripted>>((lease, None)); // the end: the lease is completed
    ///         };
    ///         lease.operate().await?; // SELECT … WHERE day = …
    ///         Ok((lease, Some(Bytes::from(format!("rows of day {day}\n")))))
    ///     }
    /// });
    /// # assert_eq!(body.collect().await?.to_bytes().len(), 7 * 14);
    /// # assert_eq!(resource.counts().released, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_fn(lease: Lease<R>, next: F) -> Self {
        over(Chunks::new(next), lease)
    }
}

impl<R, S, F, Fut, D, E> LeaseBody<Unfold<S, F, Fut>, R>
where
    R: Resource,
    S: Send + 'static,
    F: FnMut(Lease<R>, S) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(Lease<R>, S, Option<D>), E>> + Send + 'static,
    D: Buf + Send + 'static,
    E: Into<BoxError>,
{
    /// Creates a body from the chunks that `next` produces with the handle and a state, such as the key of the last row
    /// of a page.
    ///
    /// `next` receives the lease and the state that it returned with the last chunk, at first `state`. Otherwise it is
    /// as for [`from_fn`](LeaseBody::from_fn).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use bytes::Bytes;
    /// # use http_body_util::BodyExt;
    /// # use reqscope::Lease;
    /// use reqscope_http::LeaseBody;
    /// # use reqscope_testkit::{Probe, ProbeHandle, Scripted};
    ///
    /// # async fn page(conn: &mut ProbeHandle, after: i64) -> Result<Option<(i64, Bytes)>, reqscope::Error<Scripted>> {
    /// #     conn.operate().await?;
    /// #     Ok((after < 3).then(|| (after + 1, Bytes::from_static(b"a page"))))
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let resource = Arc::new(Probe::new().settling());
    /// # let lease = Lease::acquire(&resource).await?;
    /// let body = LeaseBody::unfold(lease, 0, |mut lease, last_id| async move {
    ///     Ok::<_, reqscope::Error<Scripted>>(match page(&mut lease, last_id).await? {
    ///         Some((last_id, rows)) => (lease, last_id, Some(rows)),
    ///         None => (lease, last_id, None),
    ///     })
    /// });
    /// # assert_eq!(body.collect().await?.to_bytes().len(), 3 * 6);
    /// # assert_eq!(resource.counts().released, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn unfold(lease: Lease<R>, state: S, next: F) -> Self {
        over(Unfold::new(state, next), lease)
    }
}

impl<B, R> LeaseBody<B, R>
where
    B: FrameSource<R>,
    R: Resource,
{
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
        self.change(|streaming| *streaming.project().remaining = Some(length));
        self
    }

    /// Sets how trailers, such as those of gRPC, are turned into the exit of the lease. Defaults to no classifier,
    /// because few bodies have trailers: a body that reaches its end then ends its lease as `Completed`, as does a body
    /// without trailers.
    ///
    /// The classifier is called as for a head, with the status 200. With a classifier the body reports no length, also
    /// not that of [`with_length`](LeaseBody::with_length), because a server does not ask a body of known length for
    /// trailers.
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
        self.change(|streaming| *streaming.project().trailers = Some(Arc::new(classify)));
        self
    }

    /// Sets for how long the server may owe the body a poll before the body is dropped with its lease. Defaults to
    /// 30 s, which is longer than a mobile network is usually gone, and as long as callers of a pool wait for a handle.
    /// `None` disables the limit, and [`min_rate`](LeaseBody::min_rate) with it.
    ///
    /// The time includes what the handler does between the creation of the body and its return.
    /// [Stalled clients](#stalled-clients) has the details.
    ///
    /// # Examples
    ///
    /// All downloads from one pool have the same limits:
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body::Body;
    /// use reqscope::{Lease, Resource};
    /// use reqscope_http::LeaseBody;
    /// use std::time::Duration;
    ///
    /// fn download<B, R>(rows: B, lease: Lease<R>) -> LeaseBody<B, R>
    /// where
    ///     B: Body<Data = Bytes, Error = reqscope::Error<R::Cause>> + Send + 'static,
    ///     R: Resource,
    /// {
    ///     LeaseBody::new(rows, lease).stall_timeout(Duration::from_secs(120)).min_rate(1024)
    /// }
    /// ```
    #[must_use]
    pub fn stall_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.cell.set(|clock| clock.set_timeout(timeout));
        self
    }

    /// Sets how many bytes per second a client must take while the server waits for it. Defaults to 240, as in other
    /// servers, because the slowest networks in use carry several times as much. 0 means no minimum: any frame that is
    /// taken within the [`stall_timeout`](LeaseBody::stall_timeout) keeps the body alive.
    ///
    /// Only the time that counts as stalled is measured, so a body whose source is slow has no minimum rate. A frame
    /// counts as 256 bytes or more, because small frames are not the client's choice.
    #[must_use]
    pub fn min_rate(self, bytes_per_second: u64) -> Self {
        self.cell.set(|clock| clock.set_min_rate(bytes_per_second));
        self
    }

    /// Registers work that must happen only if the lease is completed: a mail about what the transaction of this body
    /// has written.
    ///
    /// The future runs once, after the lease has ended as [`Exit::Completed`](reqscope::Exit::Completed) and its
    /// release (a COMMIT) has succeeded, before or after the last frame is sent. In every other case it is dropped
    /// without having been polled: the body or the release failed, the client disconnected or stalled, the response was
    /// never sent, something panicked.
    ///
    /// It runs in a task of the lease's reaper, which a drain waits for. Several futures run in the order of their
    /// registration. Each has a [deadline](reqscope::reaper::ReaperBuilder::task_timeout), 30 s by default, and its
    /// failure is counted and reported as [`Reaper::spawn`](reqscope::Reaper::spawn) says. For the transaction of a
    /// request without such a body, use [`ScopeHandle::on_completed`](reqscope::ScopeHandle::on_completed).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use bytes::Bytes;
    /// use http_body_util::{BodyExt, Full};
    /// use reqscope::Lease;
    /// use reqscope_http::LeaseBody;
    /// # use reqscope_testkit::Probe;
    ///
    /// # async fn send_mail(to: &str) {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let resource = Arc::new(Probe::new().settling());
    /// # let lease = Lease::acquire(&resource).await?;
    /// let body = LeaseBody::new(Full::new(Bytes::from("exported")), lease)
    ///     .on_completed(async { send_mail("customer@example.com").await });
    /// # body.collect().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[track_caller]
    pub fn on_completed(mut self, work: impl Future<Output = ()> + Send + 'static) -> Self {
        let at = Location::caller();
        self.change(|streaming| streaming.project().work.push((QuietFuture::new(work), at)));
        self
    }

    /// Changes a body that is not polled yet.
    fn change(&mut self, change: impl FnOnce(Pin<&mut Streaming<B, R>>)) {
        // There are none if it has stalled already.
        self.with_contents(None, |streaming, _| {
            change(streaming);
            Polled::Nothing
        });
    }

    /// Takes the contents out of the cell and uses them, for the task of this waker or for none. Returns whether there
    /// are any.
    #[inline]
    fn with_contents(
        &mut self,
        server: Option<&Waker>,
        use_them: impl FnOnce(Pin<&mut Streaming<B, R>>, &Waker) -> Polled,
    ) -> bool {
        let Some(mut contents) = self.cell.begin_poll(server) else { return false };
        let panicking = OnPanic { cell: &self.cell, has_panicked: &mut self.has_panicked };
        let polled = use_them(contents.as_mut(), &self.waker);
        self.hints = Hints::of(&contents);
        mem::forget(panicking);
        self.cell.end_poll(contents, polled);
        true
    }

    /// Returns why there are no contents, once. Returns `None` after the end.
    #[cold]
    fn take_reason(&mut self) -> Option<LeaseBodyError<R::Cause>> {
        match mem::take(&mut self.has_panicked) {
            true => Some(LeaseBodyError::Body("an earlier poll of the response body panicked".into())),
            false => self.cell.take_stall().map(LeaseBodyError::stalled),
        }
    }
}

/// Creates a body. The bounds are those of a body that a timer may drop in a task of its own.
fn over<B, R>(source: B, lease: Lease<R>) -> LeaseBody<B, R>
where
    B: FrameSource<R, Data: Send + 'static> + Send + 'static,
    R: Resource,
{
    let streaming = Streaming::new(source, lease);
    let hints = Hints::of(&streaming);
    let cell = LeaseCell::new(streaming);
    LeaseBody { waker: Waker::from(Arc::clone(&cell)), cell, hints, has_panicked: false }
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
        let this = self.get_mut();
        let mut frame = Poll::Pending;
        let has_contents = this.with_contents(Some(cx.waker()), |mut streaming, waker| {
            frame = streaming.as_mut().poll_frame(&mut Context::from_waker(waker));
            match &frame {
                _ if streaming.has_ended() => Polled::End,
                Poll::Pending => Polled::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    Polled::Frame(frame.data_ref().map_or(0, |data| data.remaining() as u64))
                }
                Poll::Ready(_) => Polled::Nothing,
            }
        });
        if has_contents { frame } else { Poll::Ready(this.take_reason().map(Err)) }
    }

    fn is_end_stream(&self) -> bool {
        self.hints.is_end_stream
    }

    #[allow(clippy::clone_on_copy)] // `Copy` only since http-body 1.1
    fn size_hint(&self) -> SizeHint {
        self.hints.size.clone()
    }
}

impl<B, R> Drop for LeaseBody<B, R>
where
    B: FrameSource<R>,
    R: Resource,
{
    fn drop(&mut self) {
        drop(self.cell.close());
    }
}

impl Hints {
    fn of<B: FrameSource<R>, R: Resource>(streaming: &Streaming<B, R>) -> Self {
        Hints { is_end_stream: streaming.is_end_stream(), size: streaming.size_hint() }
    }
}

/// Empties the cell if a poll panics. The contents are dropped by the same panic, so the lease ends as `Panicked`;
/// later, when nothing unwinds any more, it would end as `Cancelled`.
struct OnPanic<'a, B: FrameSource<R>, R: Resource> {
    cell: &'a LeaseCell<Streaming<B, R>>,
    has_panicked: &'a mut bool,
}

impl<B: FrameSource<R>, R: Resource> Drop for OnPanic<'_, B, R> {
    fn drop(&mut self) {
        *self.has_panicked = true;
        drop(self.cell.close());
    }
}
