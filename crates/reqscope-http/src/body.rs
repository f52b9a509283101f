use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response: the handler's own, or the body of a response that the front end sends in its place.
    ///
    /// Size hint, end of stream, trailers and errors are those of the handler's body, and so is the type of the data.
    /// That type must implement `From<Bytes>`, as `Bytes` does, because a response sent in its place consists of
    /// `Bytes`.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use std::convert::Infallible;
    /// # use std::sync::Arc;
    ///
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body::Body;
    /// use http_body_util::{BodyExt, Full};
    /// # use reqscope::Scopes;
    /// use reqscope_http::{Policy, ScopeBody};
    ///
    /// # let (scopes, policy, mut request) = (Scopes::new(), Arc::new(Policy::new()), Request::new(()));
    /// # let opened = policy.open(&scopes, &mut request);
    /// # let handler = async { Ok::<_, Infallible>(Response::new(Full::from("hello"))) };
    /// let response: Response<ScopeBody<Full<Bytes>>> = opened.answer(handler).await.unwrap();
    /// assert_eq!(response.body().size_hint().exact(), Some(5)); // the handler's `content-length`
    /// assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    /// # });
    /// ```
    #[derive(Clone, Debug)]
    pub struct ScopeBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    #[derive(Clone, Debug)]
    enum Kind<B> {
        Handler { #[pin] body: B },
        Replacement { bytes: Bytes },
    }
}

impl<B> ScopeBody<B> {
    pub(crate) fn handler(body: B) -> Self {
        ScopeBody { kind: Kind::Handler { body } }
    }

    pub(crate) fn bytes(bytes: Bytes) -> Self {
        ScopeBody { kind: Kind::Replacement { bytes } }
    }
}

impl<B: Body<Data: From<Bytes>>> Body for ScopeBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            KindProjection::Handler { body } => body.poll_frame(cx),
            KindProjection::Replacement { bytes } if bytes.is_empty() => Poll::Ready(None),
            KindProjection::Replacement { bytes } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes).into())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Handler { body } => body.is_end_stream(),
            Kind::Replacement { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Handler { body } => body.size_hint(),
            Kind::Replacement { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
