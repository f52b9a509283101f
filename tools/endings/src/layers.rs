use std::task::{Context, Poll};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::BoxFuture;

/// A tower-http layer inside the scope or around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layers {
    None,
    PanicsCaughtInside,
    PanicsCaughtOutside,
    TimeoutInside,
    TimeoutOutside,
}

/// A hyper service as a tower service. The body is boxed, because the layers create responses of their own.
#[derive(Clone)]
pub(crate) struct AsTower<S>(pub(crate) S);

impl<S, B> tower::Service<Request<Incoming>> for AsTower<S>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes, Error: Into<crate::BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        // Called here, not in the first poll, so that the scope is opened when the server calls.
        let response = self.0.call(request);
        Box::pin(async move { Ok(response.await?.map(Body::new)) })
    }
}
