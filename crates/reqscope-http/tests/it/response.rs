use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use reqscope::context::Label;
use reqscope::{CloseError, Error, Exit, Guard, Resource, ScopeHandle, Scopes};
use reqscope_http::{HandlerTimeout, Policy, RequestExt, ResponseFuture, ScopeBody};
use reqscope_testkit::{Outcome, Probe, Verb, expect_panic, poll_n, poll_once, quiet_panic};

type Answer = Result<Response<Full<Bytes>>, &'static str>;

/// A resource whose every release matters to the client, and fails.
pub(crate) struct Strict;

impl Resource for Strict {
    type Handle = ();
    type Cause = io::Error;

    async fn acquire(&self) -> Result<(), Error<io::Error>> {
        Ok(())
    }

    async fn release(&self, (): (), _: Exit) -> Result<(), Error<io::Error>> {
        Err(io::Error::other("disk full").into())
    }

    fn settles(&self, _: Exit) -> bool {
        true
    }
}

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

    /// Sends a request to `handler`, which is called and not yet polled.
    fn request<H, F>(&self, handler: H) -> ResponseFuture<F, Full<Bytes>, &'static str>
    where
        H: FnOnce(ScopeHandle, Arc<Probe>) -> F,
        F: Future<Output = Answer>,
    {
        let mut request = Request::new(());
        let opened = self.policy.open(&self.scopes, &mut request);
        opened.answer(handler(request.scope().clone(), Arc::clone(&self.probe)))
    }

    /// Sends a request whose handler uses the handle once and returns `answer`.
    fn answering(&self, answer: Answer) -> ResponseFuture<impl Future<Output = Answer>, Full<Bytes>, &'static str> {
        self.request(|scope, probe| async move {
            scope.lazy(&probe).get().await.unwrap().use_once();
            answer
        })
    }

    /// Drains the scopes and returns the exit of the only release.
    async fn exit(&self) -> Exit {
        let report = self.scopes.drain(Duration::from_secs(60)).await;
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
async fn status_decides_the_exit() {
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
async fn exit_in_the_response_overrides_the_status() {
    for (code, exit) in [(401, Exit::Completed), (200, Exit::Failed)] {
        let scene = Scene::new(Probe::new());
        let mut response = status(code);
        response.extensions_mut().insert(exit);
        scene.answering(Ok(response)).await.unwrap();
        assert_eq!(scene.exit().await, exit);
    }
}

#[tokio::test]
async fn custom_classifier_decides_the_exit() {
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
async fn service_error_fails_the_scope_and_is_returned() {
    let scene = Scene::new(Probe::new());
    assert_eq!(scene.answering(Err("broken")).await.unwrap_err(), "broken");
    assert_eq!(scene.exit().await, Exit::Failed);
}

/// L11.
#[tokio::test]
async fn head_waits_for_the_settle() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).close();
    let mut response = pin!(scene.answering(Ok(status(200))));
    assert!(poll_once(response.as_mut()).is_pending());
    scene.probe.on(Verb::Release).ok();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn head_does_not_wait_for_other_releases() {
    let scene = Scene::new(Probe::new());
    scene.probe.on(Verb::Release).close();
    assert_eq!(scene.answering(Ok(status(200))).await.unwrap().status(), 200);
    scene.probe.on(Verb::Release).ok();
    assert_eq!(scene.exit().await, Exit::Completed);
}

/// L11.
#[tokio::test]
async fn failed_settle_is_an_empty_500() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).error();
    let response = scene.answering(Ok(status(200))).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn failed_settle_hook_makes_the_response() {
    let scene = Scene::new(Probe::new().settling()).with_policy(Policy::new().on_failed_settle(|error| {
        assert_eq!(error.requested(), Exit::Completed);
        Response::builder().status(409).body(Bytes::from("again")).unwrap()
    }));
    scene.probe.on(Verb::Release).error();
    let response = scene.answering(Ok(status(200))).await.unwrap();
    assert_eq!(response.status(), 409);
    assert_eq!(text(response).await, "again");
}

/// L11. Nothing outside of the front end once saw why the response had been replaced.
#[tokio::test]
async fn failed_settle_is_in_the_extensions_of_the_response() {
    for policy in [Policy::new(), Policy::new().on_failed_settle(|_| Response::new(Bytes::from("sorry")))] {
        let scene = Scene::new(Probe::new().settling()).with_policy(policy);
        scene.probe.on(Verb::Release).error();
        let response = scene.answering(Ok(status(200))).await.unwrap();
        let error: &CloseError = response.extensions().get().unwrap();
        assert_eq!(error.requested(), Exit::Completed);
    }
}

/// L11.
#[tokio::test]
async fn failed_rollback_keeps_the_404() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).error();
    assert_eq!(scene.answering(Ok(status(404))).await.unwrap().status(), 404);
}

/// L10, L11. What is done with a handle that is still lent is unknown.
#[tokio::test]
async fn settling_guard_still_lent_is_a_500() {
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

/// A hand-written handler that returns its response before it drops its guard.
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
async fn handler_is_dropped_before_the_scope_closes() {
    let scene = Scene::new(Probe::new().settling());
    let response = scene.request(|scope, probe| KeepsItsGuard {
        guard: None,
        get: Box::pin(async move { scope.lazy(&probe).get().await.unwrap() }),
    });
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(scene.exit().await, Exit::Completed);
}

#[tokio::test]
async fn request_never_polled_closes_its_scope() {
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
async fn dropped_handler_is_cancelled() {
    let scene = Scene::new(Probe::new().settling());
    let mut response = Box::pin(scene.request(holds));
    assert!(poll_once(response.as_mut()).is_pending());
    drop(response);
    assert_eq!(scene.exit().await, Exit::Cancelled);
}

/// A client that disconnects during its COMMIT.
#[tokio::test]
async fn future_dropped_while_settling_keeps_its_exit() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).close();
    let mut response = Box::pin(scene.answering(Ok(status(200))));
    assert!(poll_once(response.as_mut()).is_pending());
    drop(response);
    scene.probe.on(Verb::Release).ok();
    assert_eq!(scene.exit().await, Exit::Completed);
}

#[tokio::test]
async fn handler_panicking_in_a_poll_is_panicked() {
    let scene = Scene::new(Probe::new());
    let mut response = Box::pin(scene.request(|scope, probe| async move {
        let _guard = scope.lazy(&probe).get().await.unwrap();
        quiet_panic("in the handler")
    }));
    expect_panic(move || {
        // Moved into the closure that unwinds, as a server's task owns its handler.
        let _polled = poll_once(response.as_mut());
    });
    assert_eq!(scene.exit().await, Exit::Panicked);
}

#[tokio::test]
async fn handler_panicking_in_call_is_panicked() {
    let scene = Scene::new(Probe::new());
    expect_panic(|| {
        scene.request(|scope, probe| {
            let handle = poll_once(pin!(scope.lazy(&probe).get()));
            drop(handle);
            if !scope.is_closed() {
                quiet_panic("in call");
            }
            pending::<Answer>()
        })
    });
    assert_eq!(scene.exit().await, Exit::Panicked);
}

/// What a wrapper such as `CatchPanic` does with a panic, if it is outside of the front end.
#[tokio::test]
async fn panic_caught_outside_is_still_panicked() {
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
        quiet_panic("in the handler")
    }));
    assert!(CatchPanic(response).await.is_none(), "a real one responds with a 500 here");
    assert_eq!(scene.exit().await, Exit::Panicked);
}

#[tokio::test]
async fn panicking_classifier_commits_nothing() {
    let scene = Scene::new(Probe::new().settling())
        .with_policy(Policy::new().classify(|_: StatusCode, _: &HeaderMap| quiet_panic("in the classifier")));
    let mut response = Box::pin(scene.answering(Ok(status(200))));
    expect_panic(|| poll_once(response.as_mut()));
    assert_eq!(scene.exit().await, Exit::Panicked);
    drop(response);
}

#[tokio::test]
async fn panicking_settle_hook_sends_no_response() {
    for awaited in [false, true] {
        let scene = Scene::new(Probe::new().settling())
            .with_policy(Policy::new().on_failed_settle(|_| quiet_panic("in the hook")));
        scene.probe.on(Verb::Release).next(Outcome::error().after_polls(awaited.into()));
        let mut response = Box::pin(scene.answering(Ok(status(200))));
        let polls = 1 + usize::from(awaited);
        expect_panic(|| poll_n(polls, response.as_mut()));
        assert_eq!(scene.exit().await, Exit::Completed, "the panic comes after the release, and changes nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn handler_over_its_timeout_is_cancelled_with_503() {
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

/// The 503 once said nothing about its reason, neither to the client nor to the other layers.
#[tokio::test(start_paused = true)]
async fn timeout_is_in_the_extensions_with_label_and_time() {
    let policy = Policy::new().timeout(Duration::from_secs(3)).label(|_| Some(Label::new("PUT /orders/{id}")));
    let scene = Scene::new(Probe::new()).with_policy(policy);
    let mut response = Box::pin(scene.request(holds));
    assert!(poll_once(response.as_mut()).is_pending());
    tokio::time::advance(Duration::from_millis(4500)).await;
    let response = response.await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    let timeout: &HandlerTimeout = response.extensions().get().unwrap();
    assert_eq!(timeout.label().unwrap().as_str(), "PUT /orders/{id}");
    assert_eq!((timeout.timeout().as_millis(), timeout.elapsed().as_millis()), (3000, 4500));
    let text = "the handler of PUT /orders/{id} was dropped after 4.5 s, its timeout is 3.0 s; ";
    assert!(timeout.to_string().starts_with(text), "{timeout}");
}

/// A resource whose ROLLBACK matters to the client fails after the timeout: the response tells both.
#[tokio::test(start_paused = true)]
async fn timeout_is_in_the_extensions_of_a_failed_settle_too() {
    let (scopes, mut request) = (Scopes::new(), Request::new(()));
    let opened = Arc::new(Policy::new().timeout(Duration::from_secs(3))).open(&scopes, &mut request);
    let strict = Arc::new(Strict);
    let response = opened.answer(async move {
        drop(request.scope().lazy(&strict).get().await.unwrap());
        pending::<Answer>().await
    });
    let response = response.await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(response.extensions().get::<CloseError>().is_some());
    assert!(response.extensions().get::<HandlerTimeout>().is_some());
}

#[tokio::test(start_paused = true)]
async fn response_within_the_timeout_is_unchanged() {
    let scene = Scene::new(Probe::new()).with_policy(Policy::new().timeout(Duration::from_secs(3)));
    assert_eq!(scene.answering(Ok(status(200))).await.unwrap().status(), 200);
}

/// The time counts from the call, not from the first poll of the response.
#[tokio::test(start_paused = true)]
async fn response_that_is_polled_late_has_the_deadline_of_its_call() {
    let scene = Scene::new(Probe::new()).with_policy(Policy::new().timeout(Duration::from_secs(3)));
    let mut response = pin!(scene.request(|_, _| pending::<Answer>()));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(poll_once(response.as_mut()).is_pending());
    tokio::time::advance(Duration::from_millis(999)).await;
    assert!(poll_once(response.as_mut()).is_pending());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(matches!(poll_once(response.as_mut()), Poll::Ready(Ok(response)) if response.status() == 503));
}

/// Without a timer, nothing is allocated for the timeout of such a request.
#[test]
fn handler_that_does_not_wait_needs_no_timer() {
    let scene = Scene::new(Probe::new()).with_policy(Policy::new().timeout(Duration::from_secs(3)));
    let response = poll_once(pin!(scene.request(|_, _| ready(Ok(status(200))))));
    assert!(matches!(response, Poll::Ready(Ok(response)) if response.status() == 200));
}

#[test]
fn handler_that_waits_without_timers_is_panicked() {
    let scene = Scene::new(Probe::new()).with_policy(Policy::new().timeout(Duration::from_secs(3)));
    let mut response = pin!(scene.request(|_, _| pending::<Answer>()));
    expect_panic(|| poll_once(response.as_mut()));
    assert_eq!(scene.scopes.stats().open_scopes, 0);
}

#[tokio::test]
async fn scope_is_closed_after_the_response() {
    let scene = Scene::new(Probe::new());
    let mut request = Request::new(());
    let opened = scene.policy.open(&scene.scopes, &mut request);
    opened.answer(async { Ok::<_, Infallible>(status(200)) }).await.unwrap();
    let error = request.scope().lazy(&scene.probe).get().await.unwrap_err();
    assert!(error.is_closed());
}

#[test]
fn missing_scope_error_says_what_to_do() {
    let request = Request::new(());
    let error = request.try_scope().unwrap_err();
    assert!(error.to_string().contains("wrap the service"), "{error}");

    let message = expect_panic(|| Request::new(()).scope().clone());
    assert!(message.contains("wrap the service"), "{message}");
}

#[test]
fn response_future_is_send() {
    fn send<T: Send>() {}
    send::<ResponseFuture<std::future::Ready<Answer>, Full<Bytes>, &'static str>>();
}

/// Returns the label of a request under this policy, whose front end has found a route.
fn label_of(policy: Policy, request: &mut Request<()>) -> Option<String> {
    let opened = Arc::new(policy).open(&Scopes::new(), request);
    opened.default_label(|| Some(Label::new("GET /orders/{id}")));
    request.scope().label().map(|label| label.to_string())
}

#[test]
fn policy_without_a_function_uses_the_front_ends_label() {
    let label = label_of(Policy::new(), &mut Request::new(()));
    assert_eq!(label.as_deref(), Some("GET /orders/{id}"));
}

#[test]
fn function_of_the_policy_replaces_the_front_ends_label() {
    let by_header = |name: &'static str| {
        Policy::new().label(move |request| request.headers().get(name)?.to_str().ok().map(Label::from))
    };
    let mut request = Request::get("/").header("x-kind", "report").body(()).unwrap();
    assert_eq!(label_of(by_header("x-kind"), &mut request).as_deref(), Some("report"));
    assert_eq!(label_of(by_header("x-other"), &mut request), None);
}

#[test]
fn label_and_timeout_are_both_in_the_scope() {
    let mut request = Request::new(());
    let policy = Arc::new(Policy::new().timeout(Duration::from_secs(10)).label(|_| Some(Label::new("all"))));
    let _opened = policy.open(&Scopes::new(), &mut request);
    assert!(request.scope().deadline().is_some());
    assert_eq!(request.scope().label(), Some(Label::new("all")));
}

#[tokio::test]
async fn panic_in_the_label_function_closes_the_scope() {
    let scene = Scene::new(Probe::new()).with_policy(Policy::new().label(|_| quiet_panic("scripted")));
    let opening = AssertUnwindSafe(|| drop(scene.request(|_, _| pending::<Answer>())));
    assert!(catch_unwind(opening).is_err());
    assert_eq!(scene.scopes.stats().open_scopes, 0);
}
