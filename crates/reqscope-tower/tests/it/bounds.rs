//! The bounds that a service and its body need not meet.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use reqscope_testkit::Probe;
use reqscope_tower::{ResponseFuture, ScopeLayer, ScopeService};
use tower::{Layer, Service};

use crate::support::Scene;

/// Neither `Clone` nor `Send`.
struct Bound(Rc<Cell<u32>>);

/// Neither `Clone` nor `Send` nor `Unpin`.
struct BoundBody {
    left: u32,
    _not_send: PhantomData<Rc<()>>,
    _not_unpin: std::marker::PhantomPinned,
}

/// No `Debug`, no `Error`.
struct BoundError;

impl Service<Request<Rc<()>>> for Bound {
    type Response = Response<BoundBody>;
    type Error = BoundError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoundError>>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Rc<()>>) -> Self::Future {
        let calls = self.0.clone();
        Box::pin(async move {
            calls.set(calls.get() + 1);
            let left = calls.get();
            Ok(Response::new(BoundBody { left, _not_send: PhantomData, _not_unpin: std::marker::PhantomPinned }))
        })
    }
}

impl Body for BoundBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let _told = self.left;
        Poll::Ready(None)
    }
}

#[tokio::test]
async fn service_need_be_neither_clone_nor_send_nor_unpin() {
    let scene = Scene::new(Probe::new());
    let calls = Rc::new(Cell::new(0));
    let mut service = scene.layer().layer(Bound(calls.clone()));
    let Ok(response) = service.call(Request::new(Rc::new(()))).await else { panic!("the service never fails") };
    assert!(Box::pin(response.into_body()).collect().await.unwrap().to_bytes().is_empty());
    assert_eq!(calls.get(), 1);
}

#[test]
fn layer_service_and_future_are_send() {
    fn server<T: Clone + Send + Sync + 'static>() {}
    fn send<T: Send>() {}
    server::<ScopeLayer>();
    server::<ScopeService<()>>();
    send::<ResponseFuture<std::future::Ready<Result<Response<Full<Bytes>>, ()>>, Full<Bytes>, ()>>();
}
