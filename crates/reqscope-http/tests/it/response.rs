use std::convert::Infallible;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use reqscope::{Exit, Guard, ScopeHandle, Scopes};
use reqscope_http::{Policy, RequestExt, ResponseFuture, ScopeBody};
use reqscope_testkit::{Outcome, Probe, Verb, poll_n, poll_once};

type Answer = Result<Response<Full<Bytes>>, &'static str>;

struct Scene {
    probe: Arc<Probe>,
    scopes: Scopes,
    policy: Arc<Policy>,
}

impl Scene {
    fn new(probe: Probe) -> Self {
        Scene { probe: Arc::new(probe), scopes: Scopes::new(), policy: Arc::new(Policy::new()) }
    }

    fn with_policy(self, policy: Policy) -> Self {
        Scene { policy: Arc::new(policy), ..self }
    }

    /// A request to `handler`, which is called and not yet polled.
    fn request<H, F>(&self, handler: H) -> ResponseFuture<F, Full<Bytes>, &'static str>
    where
        H: FnOnce(ScopeHandle, Arc<Probe>) -> F,
        F: Future<Output = Answer>,
    {
        let mut request = Request::new(());
        let opened = self.policy.open(&self.scopes, &mut request);
        opened.answer(handler(request.scope().clone(), Arc::clone(&self.probe)))
    }

    /// A request that uses the handle and answers with `response`.
    fn answering(&self, answer: Answer) -> ResponseFuture<impl Future<Output = Answer>, Full<Bytes>, &'static str> {
        self.request(|scope, probe| async move {
            scope.lazy(&probe).get().await.unwrap().use_once();
            answer
        })
    }

    /// The one release, when all is drained.
    async fn exit(&self) -> Exit {
        let report = self.scopes.drain(Duration::from_secs(5)).await;
        assert!(report.is_clean(), "{report:?}");
        let releases = self.probe.releases();
        assert_eq!(releases.len(), 1);
        releases[0].exit
    }
}

fn status(code: u16) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::from("the handler's")).unwrap()
}

async fn text(response: Response<ScopeBody<Full<Bytes>>>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn the_status_tells_the_exit() {
    for (code, expected) in [(200, Exit::Completed), (303, Exit::Completed), (404, Exit::Failed), (500, Exit::Failed)]
    {
        let scene = Scene::new(Probe::new().settling());
        let response = scene.answering(Ok(status(code))).await.unwrap();
        assert_eq!(response.status(), code);
        assert_eq!(text(response).await, "the handler's");
        assert_eq!(scene.exit().await, expected);
    }
}

#[tokio::test]
async fn an_exit_in_the_response_overrides_the_status() {
    for (code, told) in [(401, Exit::Completed), (200, Exit::Failed)] {
        let scene = Scene::new(Probe::new());
        let mut response = status(code);
        response.extensions_mut().insert(told);
        scene.answering(Ok(response)).await.unwrap();
        assert_eq!(scene.exit().await, told);
    }
}

#[tokio::test]
async fn a_classifier_of_ones_own_is_asked() {
    let scene =
        Scene::new(Probe::new()).with_policy(Policy::new().classify(
            |status: StatusCode, _: &HeaderMap| match status {
                StatusCode::NOT_FOUND => Exit::Completed,
                _ => Exit::Failed,
            },
        ));
    scene.answering(Ok(status(404))).await.unwrap();
    assert_eq!(scene.exit().await, Exit::Completed);
}

#[tokio::test]
async fn an_error_of_the_service_is_a_failure_and_passes() {
    let scene = Scene::new(Probe::new());
    assert_eq!(scene.answering(Err("broken")).await.unwrap_err(), "broken");
    assert_eq!(scene.exit().await, Exit::Failed);
}

/// L11.
#[tokio::test]
async fn the_head_waits_for_the_settle() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).close();
    let mut response = pin!(scene.answering(Ok(status(200))));
    assert!(poll_once(response.as_mut()).is_pending());
    scene.probe.on(Verb::Release).ok();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_head_waits_for_nothing_else() {
    let scene = Scene::new(Probe::new());
    scene.probe.on(Verb::Release).close();
    assert_eq!(scene.answering(Ok(status(200))).await.unwrap().status(), 200);
    scene.probe.on(Verb::Release).ok();
    assert_eq!(scene.exit().await, Exit::Completed);
}

/// L11.
#[tokio::test]
async fn a_failed_settle_is_an_empty_500() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).error();
    let response = scene.answering(Ok(status(200))).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn a_failed_settle_is_what_the_hook_says() {
    let scene = Scene::new(Probe::new().settling()).with_policy(Policy::new().on_failed_settle(|error| {
        assert_eq!(error.told(), Exit::Completed);
        Response::builder().status(409).body(Bytes::from("again")).unwrap()
    }));
    scene.probe.on(Verb::Release).error();
    let response = scene.answering(Ok(status(200))).await.unwrap();
    assert_eq!(response.status(), 409);
    assert_eq!(text(response).await, "again");
}

/// L11.
#[tokio::test]
async fn a_failed_rollback_does_not_turn_a_404_into_a_500() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).error();
    assert_eq!(scene.answering(Ok(status(404))).await.unwrap().status(), 404);
}

/// L10, L11: nobody knows what is done with a handle that is still out.
#[tokio::test]
async fn a_settling_guard_that_is_not_at_home_is_a_500() {
    let scene = Scene::new(Probe::new().settling());
    let kept: Arc<std::sync::Mutex<Option<Guard<Probe>>>> = Arc::default();
    let taken = Arc::clone(&kept);
    let response = scene.request(|scope, probe| async move {
        let guard = scope.lazy(&probe).get().await.unwrap();
        *taken.lock().unwrap() = Some(guard);
        Ok(status(200))
    });
    assert_eq!(response.await.unwrap().status(), 500);
    kept.lock().unwrap().take();
    assert_eq!(scene.exit().await, Exit::Cancelled);
}

/// A hand-written handler that keeps its guard beyond its answer, until it is dropped.
struct KeepsItsGuard {
    guard: Option<Guard<Probe>>,
    get: Pin<Box<dyn Future<Output = Guard<Probe>>>>,
}

impl Future for KeepsItsGuard {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let guard = std::task::ready!(self.get.as_mut().poll(cx));
        self.guard = Some(guard);
        Poll::Ready(Ok(status(200)))
    }
}

#[tokio::test]
async fn the_handler_is_dropped_before_the_scope_closes() {
    let scene = Scene::new(Probe::new().settling());
    let response = scene.request(|scope, probe| KeepsItsGuard {
        guard: None,
        get: Box::pin(async move { scope.lazy(&probe).get().await.unwrap() }),
    });
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(scene.exit().await, Exit::Completed);
}

#[tokio::test]
async fn a_request_that_is_never_polled_is_closed_too() {
    let scene = Scene::new(Probe::new());
    let response = scene.answering(Ok(status(200)));
    assert_eq!(scene.scopes.stats().open_scopes, 1);
    drop(response);
    assert_eq!(scene.scopes.stats().open_scopes, 0);
    assert_eq!(scene.probe.counts().acquired, 0, "L2");
}

async fn holds(scope: ScopeHandle, probe: Arc<Probe>) -> Answer {
    let _guard = scope.lazy(&probe).get().await.unwrap();
    pending().await
}

#[tokio::test]
async fn a_handler_that_is_dropped_is_cancelled() {
    let scene = Scene::new(Probe::new().settling());
    let mut response = Box::pin(scene.request(holds));
    assert!(poll_once(response.as_mut()).is_pending());
    drop(response);
    assert_eq!(scene.exit().await, Exit::Cancelled);
}

/// A client that hangs up during its COMMIT.
#[tokio::test]
async fn dropped_while_it_settles_it_goes_on_with_the_exit_it_was_told() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).close();
    let mut response = Box::pin(scene.answering(Ok(status(200))));
    assert!(poll_once(response.as_mut()).is_pending());
    drop(response);
    scene.probe.on(Verb::Release).ok();
    assert_eq!(scene.exit().await, Exit::Completed);
}

#[tokio::test]
async fn a_handler_that_panics_while_it_is_polled_is_panicked() {
    let scene = Scene::new(Probe::new());
    let mut response = Box::pin(scene.request(|scope, probe| async move {
        let _guard = scope.lazy(&probe).get().await.unwrap();
        panic!("in the handler");
    }));
    let polled = catch_unwind(AssertUnwindSafe(move || {
        // Owned by the frame that unwinds, as a server's task owns its handler.
        let _polled = poll_once(response.as_mut());
    }));
    assert!(polled.is_err());
    assert_eq!(scene.exit().await, Exit::Panicked);
}

#[tokio::test]
async fn a_handler_that_panics_in_the_call_is_panicked() {
    let scene = Scene::new(Probe::new());
    let called = catch_unwind(AssertUnwindSafe(|| {
        scene.request(|scope, probe| {
            let handle = poll_once(pin!(scope.lazy(&probe).get()));
            drop(handle);
            if !scope.is_closed() {
                panic!("in the call");
            }
            pending::<Answer>()
        })
    }));
    assert!(called.is_err());
    assert_eq!(scene.exit().await, Exit::Panicked);
}

/// What a wrapper such as CatchPanic makes of a panic, when it stands outside.
#[tokio::test]
async fn a_panic_caught_outside_is_panicked_and_answered() {
    struct CatchPanic<F>(F);

    impl<F: Future + Unpin> Future for CatchPanic<F> {
        type Output = Option<F::Output>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(cx))) {
                Ok(polled) => polled.map(Some),
                Err(_payload) => Poll::Ready(None),
            }
        }
    }

    let scene = Scene::new(Probe::new());
    let response = Box::pin(scene.request(|scope, probe| async move {
        let _guard = scope.lazy(&probe).get().await.unwrap();
        panic!("in the handler");
    }));
    assert!(CatchPanic(response).await.is_none(), "a real one answers 500 here");
    assert_eq!(scene.exit().await, Exit::Panicked);
}

#[tokio::test]
async fn a_classifier_that_panics_commits_nothing_and_lets_no_answer_out() {
    let scene = Scene::new(Probe::new().settling())
        .with_policy(Policy::new().classify(|_: StatusCode, _: &HeaderMap| panic!("in the classifier")));
    let mut response = Box::pin(scene.answering(Ok(status(200))));
    assert!(catch_unwind(AssertUnwindSafe(|| poll_once(response.as_mut()))).is_err());
    assert_eq!(scene.exit().await, Exit::Panicked);
    drop(response);
}

#[tokio::test]
async fn an_answer_to_a_failed_settle_that_panics_lets_no_answer_out() {
    for awaited in [false, true] {
        let scene = Scene::new(Probe::new().settling())
            .with_policy(Policy::new().on_failed_settle(|_| panic!("in the answer")));
        scene.probe.on(Verb::Release).next(Outcome::error().after_polls(awaited.into()));
        let mut response = Box::pin(scene.answering(Ok(status(200))));
        let polls = 1 + usize::from(awaited);
        assert!(catch_unwind(AssertUnwindSafe(|| poll_n(polls, response.as_mut()))).is_err());
        assert_eq!(scene.exit().await, Exit::Completed, "what it was told; the release failed by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_out_of_time_is_dropped_cancelled_and_answered_with_503() {
    struct Sets(Arc<AtomicBool>);

    impl Drop for Sets {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }

    let scene = Scene::new(Probe::new()).with_policy(Policy::new().timeout(Duration::from_secs(3)));
    let dropped = Arc::new(AtomicBool::new(false));
    let sets = Sets(Arc::clone(&dropped));
    let began = tokio::time::Instant::now();
    let response = scene.request(|scope, probe| async move {
        let _sets = sets;
        holds(scope, probe).await
    });
    let response = response.await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(began.elapsed().as_secs(), 3);
    assert!(dropped.load(Relaxed));
    assert_eq!(scene.exit().await, Exit::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_is_left_alone_by_the_deadline() {
    let scene = Scene::new(Probe::new()).with_policy(Policy::new().timeout(Duration::from_secs(3)));
    assert_eq!(scene.answering(Ok(status(200))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn after_the_answer_the_scope_is_closed() {
    let scene = Scene::new(Probe::new());
    let mut request = Request::new(());
    let opened = scene.policy.open(&scene.scopes, &mut request);
    opened.answer(async { Ok::<_, Infallible>(status(200)) }).await.unwrap();
    let error = request.scope().lazy(&scene.probe).get().await.unwrap_err();
    assert!(error.is_closed());
}

#[test]
fn a_missing_scope_is_an_error_that_says_what_to_do() {
    let request = Request::new(());
    let error = request.try_scope().unwrap_err();
    assert!(error.to_string().contains("wrap the service"), "{error}");

    let panic = catch_unwind(|| Request::new(()).scope().clone()).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("wrap the service"));
}

#[test]
fn the_future_is_send() {
    fn send<T: Send>() {}
    send::<ResponseFuture<std::future::Ready<Answer>, Full<Bytes>, &'static str>>();
}
