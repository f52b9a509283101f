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

pub(crate) type Answer = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

/// A response with this status and these bytes.
pub(crate) fn answer(status: u16, bytes: &'static str) -> Answer {
    let body = Full::new(Bytes::from_static(bytes.as_bytes()));
    answer_with(status, body)
}

/// A response without a body.
pub(crate) fn bare(status: u16) -> Answer {
    answer_with(status, Empty::new())
}

pub(crate) fn answer_with<B>(status: u16, body: B) -> Answer
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    Ok(Response::builder().status(status).body(body.map_err(Into::into).boxed_unsync())?)
}

/// A body of chunks of which each is made by its number, and whose length nobody knows.
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

/// A body of one chunk, with one trailer.
pub(crate) fn with_trailers(
    name: &'static str,
    value: &'static str,
) -> impl Body<Data = Bytes, Error = BoxError> + Send + 'static {
    let trailers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
    chunks(|number| async move { Ok((number < 1).then_some(Bytes::from_static(b"rows"))) })
        .with_trailers(std::future::ready(Some(Ok(trailers))))
}

/// A body that says what becomes of it. Else it is as the one inside.
pub(crate) struct Watched {
    body: UnsyncBoxBody<Bytes, BoxError>,
    log: Log,
    begun: bool,
    /// What it has come to, once it has.
    end: Option<Event>,
}

impl Watched {
    pub(crate) fn new(body: UnsyncBoxBody<Bytes, BoxError>, log: Log) -> Self {
        Watched { body, log, begun: false, end: None }
    }

    fn is_at_end(&self) -> bool {
        self.body.is_end_stream() || self.body.size_hint().exact() == Some(0)
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !std::mem::replace(&mut self.begun, true) {
            self.log.add(Event::BodyBegun);
        }
        // What a panic of the poll leaves here.
        let before = self.end.replace(Event::BodyUnwound);
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

impl Drop for Watched {
    fn drop(&mut self) {
        let end = match self.end {
            Some(end) => end,
            None if thread::panicking() => Event::BodyUnwound,
            None if !self.begun => Event::BodyUnasked,
            // Nobody asks a body of a known length for its end.
            None if self.is_at_end() => Event::BodyEnded,
            None => Event::BodyCut,
        };
        self.log.add(end);
        self.log.add(Event::BodyGone);
    }
}
