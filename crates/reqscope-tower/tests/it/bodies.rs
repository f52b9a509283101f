//! The body of the response is the handler's.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use reqscope_testkit::{Probe, Verb};
use reqscope_tower::{RequestExt, ScopeBody};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Scene, get};

/// Sends a request whose handler returns this body, and returns the body of the response.
async fn through<B>(body: impl Fn() -> B) -> ScopeBody<B> {
    let scene = Scene::new(Probe::new());
    let handler = service_fn(|_: Request<Empty<Bytes>>| {
        let body = body();
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    scene.layer().layer(handler).oneshot(get("/")).await.unwrap().into_body()
}

/// A body that returns these frames, and then the error if there is one, else the trailers.
#[derive(Clone)]
struct Frames<D> {
    data: VecDeque<D>,
    trailers: Option<HeaderMap>,
    error: Option<&'static str>,
}

impl<D: Buf + Unpin> Body for Frames<D> {
    type Data = D;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<D>, &'static str>>> {
        if let Some(data) = self.data.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(3);
        hint.set_upper(1000);
        hint
    }
}

fn frames<D>(data: impl IntoIterator<Item = D>) -> Frames<D> {
    Frames { data: data.into_iter().collect(), trailers: None, error: None }
}

#[tokio::test]
async fn size_and_end_are_those_of_the_handlers_body() {
    let full = through(|| Full::<Bytes>::from("hello")).await;
    assert_eq!((full.size_hint().exact(), full.is_end_stream()), (Some(5), false));
    let empty = through(Empty::<Bytes>::new).await;
    assert_eq!((empty.size_hint().exact(), empty.is_end_stream()), (Some(0), true));
    let unknown = through(|| frames([Bytes::from("a")])).await;
    assert_eq!((unknown.size_hint().lower(), unknown.size_hint().upper()), (3, Some(1000)));
    assert!(!unknown.is_end_stream());
}

#[tokio::test]
async fn trailers_are_those_of_the_handlers_body() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let body = through(|| Frames { trailers: Some(trailers.clone()), ..frames([Bytes::from("a")]) }).await;
    let collected = body.collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "a");
}

#[tokio::test]
async fn error_is_that_of_the_handlers_body() {
    let body = through(|| Frames { error: Some("torn"), ..frames([Bytes::from("a")]) }).await;
    assert_eq!(body.collect().await.unwrap_err(), "torn");
}

/// A data type of the application. It implements `From<Bytes>`, of which the response to a failed settle consists.
#[derive(Clone, Debug)]
struct Rope(VecDeque<Bytes>);

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        Rope([bytes].into())
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |bytes| bytes)
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(bytes) = self.0.front_mut().filter(|_| count > 0) {
            let here = count.min(bytes.len());
            bytes.advance(here);
            count -= here;
            if bytes.is_empty() {
                self.0.pop_front();
            }
        }
    }
}

#[tokio::test]
async fn custom_data_type_passes_and_so_does_a_replacement() {
    for settles in [true, false] {
        let scene = Scene::new(Probe::new().settling());
        if !settles {
            scene.probe.on(Verb::Release).error();
        }
        let handler = service_fn(|request: Request<Empty<Bytes>>| {
            let lazy = request.scope().lazy(&scene.probe);
            async move {
                lazy.get().await.unwrap().use_once();
                Ok::<_, Infallible>(Response::new(frames([Rope([Bytes::from("a"), Bytes::from("b")].into())])))
            }
        });
        let layer = scene.layer().on_failed_settle(|_| Response::new(Bytes::from("nothing was changed")));
        let response = layer.layer(handler).oneshot(get("/")).await.unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(text, if settles { "ab" } else { "nothing was changed" });
        scene.exit().await;
    }
}
