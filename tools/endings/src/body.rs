use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use crate::BoxError;
use crate::event::{Event, Log};

pub(crate) type HandlerResult = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

/// Returns a response with this status and these bytes.
pub(crate) fn response(status: u16, bytes: &'static str) -> HandlerResult {
    let body = Full::new(Bytes::from_static(bytes.as_bytes()));
    response_with(status, body)
}

/// Returns a response without a body.
pub(crate) fn empty_response(status: u16) -> HandlerResult {
    response_with(status, Empty::new())
}

/// Returns a response with this status and body.
pub(crate) fn response_with<B>(status: u16, body: B) -> HandlerResult
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    Ok(Response::builder().status(status).body(body.map_err(Into::into).boxed_unsync())?)
}

/// Returns a body of unknown length. `next` makes each chunk from its number.
pub(crate) fn chunks<F, Fut>(next: F) -> impl Body<Data = Bytes, Error = BoxError> + Send + 'static
where
    F: FnMut(usize) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<Bytes>, BoxError>> + Send + 'static,
{
    StreamBody::new(try_unfold((0, next), |(number, mut next)| async move {
        let chunk = next(number).await?;
        Ok(chunk.map(|chunk| (Frame::data(chunk), (number + 1, next))))
    }))
}

/// Returns a body of one chunk and one trailer.
pub(crate) fn with_trailers(
    name: &'static str,
    value: &'static str,
) -> impl Body<Data = Bytes, Error = BoxError> + Send + 'static {
    let trailers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
    chunks(|number| async move { Ok((number < 1).then_some(Bytes::from_static(b"rows"))) })
        .with_trailers(std::future::ready(Some(Ok(trailers))))
}

/// A body that logs how it ends, and otherwise behaves like the one inside.
pub(crate) struct WatchedBody {
    body: UnsyncBoxBody<Bytes, BoxError>,
    log: Log,
    polled: bool,
    /// How it ended, once it has.
    end: Option<Event>,
}

impl WatchedBody {
    pub(crate) fn new(body: UnsyncBoxBody<Bytes, BoxError>, log: Log) -> Self {
        WatchedBody { body, log, polled: false, end: None }
    }

    fn is_at_end(&self) -> bool {
        self.body.is_end_stream() || self.body.size_hint().exact() == Some(0)
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !std::mem::replace(&mut self.polled, true) {
            self.log.add(Event::BodyPolled);
        }
        // Stays if the poll panics.
        let before = self.end.replace(Event::BodyPanicked);
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.end = before;
        let frame = ready!(polled);
        match &frame {
            None => self.end = Some(Event::BodyEnded),
            Some(Ok(frame)) if frame.is_trailers() => self.end = Some(Event::BodyEnded),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.end = Some(Event::BodyFailed),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        let end = match self.end {
            Some(end) => end,
            None if thread::panicking() => Event::BodyPanicked,
            None if !self.polled => Event::BodyUnpolled,
            // hyper does not poll a body of known length for its end.
            None if self.is_at_end() => Event::BodyEnded,
            None => Event::BodyCut,
        };
        self.log.add(end);
        self.log.add(Event::BodyDropped);
    }
}
