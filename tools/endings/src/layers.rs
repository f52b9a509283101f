use std::task::{Context, Poll};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::BoxFuture;

/// A layer of others, inside of the scope or around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layers {
    None,
    PanicsCaughtInside,
    PanicsCaughtOutside,
    TimeoutInside,
    TimeoutOutside,
}

/// A hyper service that tower's layers can stand around. The body is boxed, since they want to make one.
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
        // Called here and not in the first poll, so that the scope is opened where the server calls.
        let answered = self.0.call(request);
        Box::pin(async move { Ok(answered.await?.map(Body::new)) })
    }
}
