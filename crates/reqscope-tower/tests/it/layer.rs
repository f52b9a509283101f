//! The layer over a plain tower service.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{Empty, Full};
use reqscope::{Exit, ScopeHandle};
use reqscope_testkit::{Probe, Verb, expect_panic, poll_once, quiet_panic};
use reqscope_tower::{ByGrpcStatus, RequestExt, ScopeBody, ScopeLayer};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Answer, Scene, get, status, text, within};

type Get = Request<Empty<Bytes>>;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A handler that acquires the handle and never returns.
async fn holds(request: Get, probe: Arc<Probe>) -> Answer {
    let _guard = request.scope().lazy(&probe).get().await.unwrap();
    pending().await
}

/// Sends a request to a handler that uses the handle once and returns `answer`.
async fn answer(
    scene: &Scene,
    layer: ScopeLayer,
    answer: impl Fn() -> Answer,
) -> Result<Response<ScopeBody<Full<Bytes>>>, &'static str> {
    let handler = service_fn(|request: Get| {
        let (lazy, answer) = (request.scope().lazy(&scene.probe), answer());
        async move {
            lazy.get().await.unwrap().use_once();
            answer
        }
    });
    layer.layer(handler).oneshot(get("/")).await
}

#[tokio::test]
async fn scope_opened_in_call_closes_without_a_poll() {
    let scene = Scene::new(Probe::new());
    let mut service = scene.layer().layer(service_fn(|_: Get| pending::<Answer>()));
    let response = service.call(get("/"));
    assert_eq!(scene.scopes.stats().open_scopes, 1);
    drop(response);
    assert_eq!(scene.scopes.stats().open_scopes, 0);
    assert!(scene.exits().await.is_empty(), "L2");
}

#[tokio::test]
async fn status_decides_the_exit() {
    for (code, exit) in [(200, Exit::Completed), (303, Exit::Completed), (404, Exit::Failed), (500, Exit::Failed)] {
        let scene = Scene::new(Probe::new().settling());
        let response = answer(&scene, scene.layer(), || Ok(status(code))).await.unwrap();
        assert_eq!(response.status(), code);
        assert_eq!(text(response).await, "the handler's");
        assert_eq!(scene.exit().await, exit);
    }
}

#[tokio::test]
async fn exit_in_the_response_overrides_the_status() {
    for (code, exit) in [(401, Exit::Completed), (200, Exit::Failed)] {
        let scene = Scene::new(Probe::new());
        let with_exit = || {
            let mut response = status(code);
            response.extensions_mut().insert(exit);
            Ok(response)
        };
        answer(&scene, scene.layer(), with_exit).await.unwrap();
        assert_eq!(scene.exit().await, exit);
    }
}

#[tokio::test]
async fn grpc_status_in_the_head_decides_the_exit() {
    for (grpc, exit) in [(Some("0"), Exit::Completed), (Some("5"), Exit::Failed), (None, Exit::Completed)] {
        let scene = Scene::new(Probe::new());
        let ok = || {
            let mut response = status(200);
            response.headers_mut().extend(grpc.map(|grpc| (GRPC_STATUS, HeaderValue::from_static(grpc))));
            Ok(response)
        };
        answer(&scene, scene.layer().classify(ByGrpcStatus), ok).await.unwrap();
        assert_eq!(scene.exit().await, exit, "{grpc:?}");
    }
}

#[tokio::test]
async fn service_error_fails_the_scope_and_is_returned() {
    let scene = Scene::new(Probe::new());
    assert_eq!(answer(&scene, scene.layer(), || Err("broken")).await.unwrap_err(), "broken");
    assert_eq!(scene.exit().await, Exit::Failed);
}

/// L11.
#[tokio::test]
async fn failed_settle_is_an_empty_500_or_made_by_the_hook() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).error().error();
    let response = answer(&scene, scene.layer(), || Ok(status(200))).await.unwrap();
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (500, ""));

    let hooked = scene.layer().on_failed_settle(|error| {
        assert_eq!(error.requested(), Exit::Completed);
        Response::builder().status(409).body(Bytes::from("again")).unwrap()
    });
    let response = answer(&scene, hooked, || Ok(status(200))).await.unwrap();
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (409, "again"));
    assert_eq!(scene.exits().await, [Exit::Completed, Exit::Completed]);
}

#[tokio::test]
async fn dropped_handler_is_cancelled() {
    let scene = Scene::new(Probe::new().settling());
    let service = scene.layer().layer(service_fn(|request| holds(request, scene.probe.clone())));
    let mut response = Box::pin(service.oneshot(get("/")));
    assert!(poll_once(response.as_mut()).is_pending());
    drop(response);
    assert_eq!(scene.exit().await, Exit::Cancelled);
}

/// Records, when it is dropped, whether its scope was already closed.
struct Witness {
    scope: ScopeHandle,
    too_late: Arc<AtomicBool>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.too_late.store(self.scope.is_closed(), Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn handler_is_dropped_before_its_scope_closes() {
    let scene = Scene::new(Probe::new());
    let layer = scene.layer().timeout(Duration::from_secs(3));
    for out_of_time in [false, true] {
        let too_late = Arc::new(AtomicBool::new(true));
        let mut service = layer.layer(service_fn(|request: Get| {
            let witness = Witness { scope: request.scope().clone(), too_late: too_late.clone() };
            async move {
                let _witness = witness;
                pending::<Answer>().await
            }
        }));
        let mut response = Box::pin(service.call(get("/")));
        if out_of_time {
            assert_eq!(within(response).await.unwrap().status(), 503);
        } else {
            assert!(poll_once(response.as_mut()).is_pending());
            drop(response);
        }
        assert!(!too_late.load(Relaxed), "out of time: {out_of_time}");
    }
}

#[tokio::test]
async fn handler_panic_closes_as_panicked_and_propagates() {
    let scene = Scene::new(Probe::new());
    let mut service = scene.layer().layer(service_fn(|request: Get| {
        let lazy = request.scope().lazy(&scene.probe);
        async move {
            let _guard = lazy.get().await.unwrap();
            quiet_panic("in the handler");
            #[expect(unreachable_code, reason = "names the output type")]
            Answer::Err("")
        }
    }));
    let mut response = Box::pin(service.call(get("/")));
    expect_panic(|| poll_once(response.as_mut()));
    assert_eq!(scene.exit().await, Exit::Panicked);
}

#[tokio::test]
async fn panic_in_call_closes_as_panicked_and_propagates() {
    let scene = Scene::new(Probe::new());
    let mut service = scene.layer().layer(service_fn(|request: Get| {
        drop(poll_once(pin!(request.scope().lazy(&scene.probe).get())));
        if !request.scope().is_closed() {
            quiet_panic("in call");
        }
        pending::<Answer>()
    }));
    expect_panic(|| drop(service.call(get("/"))));
    assert_eq!(scene.exit().await, Exit::Panicked);
}

#[tokio::test(start_paused = true)]
async fn handler_over_its_timeout_is_cancelled_with_503() {
    let scene = Scene::new(Probe::new());
    let layer = scene.layer().timeout(Duration::from_secs(3));
    let began = tokio::time::Instant::now();
    let service = layer.layer(service_fn(|request| holds(request, scene.probe.clone())));
    assert_eq!(within(service.oneshot(get("/"))).await.unwrap().status(), 503);
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(scene.exit().await, Exit::Cancelled);
}

/// A service that is ready, or fails, at the second poll.
struct Slow {
    polls: Arc<AtomicUsize>,
    error: Option<&'static str>,
}

impl Service<Get> for Slow {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = std::future::Ready<Answer>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        match self.polls.fetch_add(1, Relaxed) {
            0 => Poll::Pending,
            _ => Poll::Ready(self.error.map_or(Ok(()), Err)),
        }
    }

    fn call(&mut self, _request: Get) -> Self::Future {
        assert_eq!(self.polls.load(Relaxed), 2, "the service that was polled is the one that is called");
        ready(Ok(status(200)))
    }
}

#[tokio::test]
async fn readiness_is_that_of_the_inner_service() {
    let scene = Scene::new(Probe::new());
    for error in [None, Some("broken")] {
        let polls = Arc::default();
        let mut service = scene.layer().layer(Slow { polls: Arc::clone(&polls), error });
        assert!(poll_once(pin!(service.ready())).is_pending());
        let Poll::Ready(ready) = poll_once(pin!(service.ready())) else { panic!("the service is not ready") };
        assert_eq!(ready.err(), error);
        assert_eq!(scene.scopes.stats().open_scopes, 0);
        if error.is_none() {
            service.call(get("/")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn handler_under_two_layers_sees_the_inner_scope() {
    let (outer, inner) = (Scene::new(Probe::new()), Scene::new(Probe::new()));
    let handler = service_fn(|request: Get| {
        let lazy = request.scope().lazy(&inner.probe);
        async move {
            lazy.get().await.unwrap().use_once();
            Ok::<_, Infallible>(status(200))
        }
    });
    let service = outer.layer().layer(inner.layer().layer(handler));
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
    assert_eq!((outer.scopes.stats().acquired, inner.scopes.stats().acquired), (0, 1));
    assert_eq!(inner.exit().await, Exit::Completed);
}

#[test]
fn inner_service_is_accessible() {
    let scene = Scene::new(Probe::new());
    let mut service = scene.layer().layer(7);
    assert_eq!(*service.get_ref(), 7);
    *service.get_mut() = 8;
    assert_eq!(service.into_inner(), 8);
}
