//! The body that comes out is the handler's.

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

/// What comes out for this one.
async fn through<B>(body: impl Fn() -> B) -> ScopeBody<B> {
    let scene = Scene::new(Probe::new());
    let handler = service_fn(|_: Request<Empty<Bytes>>| {
        let body = body();
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    scene.layer().layer(handler).oneshot(get("/")).await.unwrap().into_body()
}

/// The frames that it is given, with an error after them if it is to fail.
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
async fn its_size_and_its_end_are_the_handlers() {
    let full = through(|| Full::<Bytes>::from("hello")).await;
    assert_eq!((full.size_hint().exact(), full.is_end_stream()), (Some(5), false));
    let empty = through(Empty::<Bytes>::new).await;
    assert_eq!((empty.size_hint().exact(), empty.is_end_stream()), (Some(0), true));
    let unknown = through(|| frames([Bytes::from("a")])).await;
    assert_eq!((unknown.size_hint().lower(), unknown.size_hint().upper()), (3, Some(1000)));
    assert!(!unknown.is_end_stream());
}

#[tokio::test]
async fn its_trailers_are_the_handlers() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let body = through(|| Frames { trailers: Some(trailers.clone()), ..frames([Bytes::from("a")]) }).await;
    let collected = body.collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "a");
}

#[tokio::test]
async fn its_error_is_the_handlers() {
    let body = through(|| Frames { error: Some("torn"), ..frames([Bytes::from("a")]) }).await;
    assert_eq!(body.collect().await.unwrap_err(), "torn");
}

/// Data of one's own. It can be made of `Bytes`, in which the answer to a failed settle comes.
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
async fn data_of_another_type_passes_and_so_does_the_answer_in_its_place() {
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
