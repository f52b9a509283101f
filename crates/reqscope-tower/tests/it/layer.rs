//! The layer over a plain tower service.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{Empty, Full};
use reqscope::{Exit, ScopeHandle};
use reqscope_testkit::{Probe, Verb, poll_once};
use reqscope_tower::{ByGrpcStatus, RequestExt, ScopeBody, ScopeLayer};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Answer, Scene, get, status, text, within};

type Get = Request<Empty<Bytes>>;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// One that takes the handle and never answers.
async fn holds(request: Get, probe: Arc<Probe>) -> Answer {
    let _guard = request.scope().lazy(&probe).get().await.unwrap();
    pending().await
}

/// One request to a handler that uses the handle and answers so.
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
async fn the_scope_is_opened_in_call_and_closed_though_nobody_polls() {
    let scene = Scene::new(Probe::new());
    let mut service = scene.layer().layer(service_fn(|_: Get| pending::<Answer>()));
    let response = service.call(get("/"));
    assert_eq!(scene.scopes.stats().open_scopes, 1);
    drop(response);
    assert_eq!(scene.scopes.stats().open_scopes, 0);
    assert!(scene.exits().await.is_empty(), "L2");
}

#[tokio::test]
async fn the_status_tells_the_exit() {
    for (code, told) in [(200, Exit::Completed), (303, Exit::Completed), (404, Exit::Failed), (500, Exit::Failed)] {
        let scene = Scene::new(Probe::new().settling());
        let response = answer(&scene, scene.layer(), || Ok(status(code))).await.unwrap();
        assert_eq!(response.status(), code);
        assert_eq!(text(response).await, "the handler's");
        assert_eq!(scene.exit().await, told);
    }
}

#[tokio::test]
async fn an_exit_in_the_response_overrides_the_status() {
    for (code, told) in [(401, Exit::Completed), (200, Exit::Failed)] {
        let scene = Scene::new(Probe::new());
        let with_exit = || {
            let mut response = status(code);
            response.extensions_mut().insert(told);
            Ok(response)
        };
        answer(&scene, scene.layer(), with_exit).await.unwrap();
        assert_eq!(scene.exit().await, told);
    }
}

#[tokio::test]
async fn a_grpc_status_in_the_head_tells_the_exit() {
    for (grpc, told) in [(Some("0"), Exit::Completed), (Some("5"), Exit::Failed), (None, Exit::Completed)] {
        let scene = Scene::new(Probe::new());
        let ok = || {
            let mut response = status(200);
            response.headers_mut().extend(grpc.map(|grpc| (GRPC_STATUS, HeaderValue::from_static(grpc))));
            Ok(response)
        };
        answer(&scene, scene.layer().classify(ByGrpcStatus), ok).await.unwrap();
        assert_eq!(scene.exit().await, told, "{grpc:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_a_failure_and_passes() {
    let scene = Scene::new(Probe::new());
    assert_eq!(answer(&scene, scene.layer(), || Err("broken")).await.unwrap_err(), "broken");
    assert_eq!(scene.exit().await, Exit::Failed);
}

/// L11.
#[tokio::test]
async fn a_failed_settle_is_an_empty_500_or_what_the_hook_says() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).error().error();
    let response = answer(&scene, scene.layer(), || Ok(status(200))).await.unwrap();
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (500, ""));

    let hooked = scene.layer().on_failed_settle(|error| {
        assert_eq!(error.told(), Exit::Completed);
        Response::builder().status(409).body(Bytes::from("again")).unwrap()
    });
    let response = answer(&scene, hooked, || Ok(status(200))).await.unwrap();
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (409, "again"));
    assert_eq!(scene.exits().await, [Exit::Completed, Exit::Completed]);
}

#[tokio::test]
async fn a_handler_that_is_dropped_is_cancelled() {
    let scene = Scene::new(Probe::new().settling());
    let service = scene.layer().layer(service_fn(|request| holds(request, scene.probe.clone())));
    let mut response = Box::pin(service.oneshot(get("/")));
    assert!(poll_once(response.as_mut()).is_pending());
    drop(response);
    assert_eq!(scene.exit().await, Exit::Cancelled);
}

/// Tells, when it is dropped, whether its scope was closed by then.
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
async fn the_handler_is_dropped_before_its_scope_closes() {
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
async fn a_panic_of_the_handler_is_told_and_passes() {
    let scene = Scene::new(Probe::new());
    let mut service = scene.layer().layer(service_fn(|request: Get| {
        let lazy = request.scope().lazy(&scene.probe);
        async move {
            let _guard = lazy.get().await.unwrap();
            panic!("in the handler");
            #[expect(unreachable_code, reason = "it tells the type")]
            Answer::Err("")
        }
    }));
    let mut response = Box::pin(service.call(get("/")));
    assert!(catch_unwind(AssertUnwindSafe(|| poll_once(response.as_mut()))).is_err());
    assert_eq!(scene.exit().await, Exit::Panicked);
}

#[tokio::test]
async fn a_panic_in_the_call_is_told_and_passes() {
    let scene = Scene::new(Probe::new());
    let mut service = scene.layer().layer(service_fn(|request: Get| {
        drop(poll_once(pin!(request.scope().lazy(&scene.probe).get())));
        if !request.scope().is_closed() {
            panic!("in the call");
        }
        pending::<Answer>()
    }));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(service.call(get("/"))))).is_err());
    assert_eq!(scene.exit().await, Exit::Panicked);
}

#[tokio::test(start_paused = true)]
async fn a_handler_out_of_time_is_cancelled_and_answered_with_503() {
    let scene = Scene::new(Probe::new());
    let layer = scene.layer().timeout(Duration::from_secs(3));
    let began = tokio::time::Instant::now();
    let service = layer.layer(service_fn(|request| holds(request, scene.probe.clone())));
    assert_eq!(within(service.oneshot(get("/"))).await.unwrap().status(), 503);
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(scene.exit().await, Exit::Cancelled);
}

/// Ready after some polls, or never with an error.
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
        assert_eq!(self.polls.load(Relaxed), 2, "the one that was asked is the one that is called");
        ready(Ok(status(200)))
    }
}

#[tokio::test]
async fn readiness_is_that_of_the_service_inside_and_opens_no_scope() {
    let scene = Scene::new(Probe::new());
    for error in [None, Some("broken")] {
        let polls = Arc::default();
        let mut service = scene.layer().layer(Slow { polls: Arc::clone(&polls), error });
        assert!(poll_once(pin!(service.ready())).is_pending());
        let Poll::Ready(ready) = poll_once(pin!(service.ready())) else { panic!("it is ready") };
        assert_eq!(ready.err(), error);
        assert_eq!(scene.scopes.stats().open_scopes, 0);
        if error.is_none() {
            service.call(get("/")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn of_two_layers_the_handler_sees_the_inner_one() {
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
fn what_is_inside_can_be_reached() {
    let scene = Scene::new(Probe::new());
    let mut service = scene.layer().layer(7);
    assert_eq!(*service.get_ref(), 7);
    *service.get_mut() = 8;
    assert_eq!(service.into_inner(), 8);
}
