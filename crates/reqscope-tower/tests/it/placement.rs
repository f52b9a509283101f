//! Where the layer stands among others, and what happens if it stands elsewhere.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::Response;
use axum::routing::any;
use http::StatusCode;
use reqscope::Exit;
use reqscope_testkit::{Probe, Verb, poll_once};
use reqscope_tower::RequestExt;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::support::{Scene, within};

fn app(scene: &Scene) -> Router {
    async fn uses(State(probe): State<Arc<Probe>>, request: Request) {
        request.scope().lazy(&probe).get().await.unwrap().use_once();
    }
    async fn panics(State(probe): State<Arc<Probe>>, request: Request) {
        request.scope().lazy(&probe).get().await.unwrap().use_once();
        panic!("in the handler");
    }
    async fn hangs(State(probe): State<Arc<Probe>>, request: Request) {
        let _guard = request.scope().lazy(&probe).get().await.unwrap();
        pending().await
    }
    let routes = Router::new().route("/", any(uses)).route("/panics", any(panics)).route("/hangs", any(hangs));
    routes.with_state(scene.probe.clone())
}

async fn ask(app: Router, path: &str) -> Response {
    app.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

const TIMEOUT: Duration = Duration::from_secs(1);

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIMEOUT)
}

/// Right.
#[tokio::test]
async fn inside_of_catch_panic_a_panic_is_told_as_one() {
    let scene = Scene::new(Probe::new().settling());
    let response = ask(app(&scene).layer(scene.layer()).layer(CatchPanicLayer::new()), "/panics").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(scene.exit().await, Exit::Panicked);
}

#[tokio::test]
async fn outside_of_catch_panic_a_panic_is_told_as_a_failure() {
    let scene = Scene::new(Probe::new().settling());
    let response = ask(app(&scene).layer(CatchPanicLayer::new()).layer(scene.layer()), "/panics").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(scene.exit().await, Exit::Failed);
}

/// A guard that is held at that moment would have failed the scope; here none is.
#[tokio::test]
async fn outside_of_a_catch_panic_that_answers_well_a_panic_is_told_as_a_success() {
    let scene = Scene::new(Probe::new().settling());
    let well = CatchPanicLayer::custom(|_| Response::new(Body::empty()));
    assert_eq!(ask(app(&scene).layer(well).layer(scene.layer()), "/panics").await.status(), StatusCode::OK);
    assert_eq!(scene.exit().await, Exit::Completed);
}

#[tokio::test]
async fn without_catch_panic_a_panic_is_told_and_passes() {
    let scene = Scene::new(Probe::new().settling());
    let mut answer = Box::pin(ask(app(&scene).layer(scene.layer()), "/panics"));
    assert!(catch_unwind(AssertUnwindSafe(|| poll_once(answer.as_mut()))).is_err());
    assert_eq!(scene.exit().await, Exit::Panicked);
}

/// Right.
#[tokio::test(start_paused = true)]
async fn a_timeout_inside_ends_the_handler_and_not_the_commit() {
    let scene = Scene::new(Probe::new().settling());
    let app = app(&scene).layer(timeout()).layer(scene.layer());
    assert_eq!(within(ask(app.clone(), "/hangs")).await.status(), StatusCode::REQUEST_TIMEOUT);
    scene.exit().await;

    scene.probe.on(Verb::Release).close();
    let answer = tokio::spawn(async move { ask(app, "/").await.status() });
    tokio::time::sleep(2 * TIMEOUT).await;
    assert!(!answer.is_finished(), "the COMMIT takes longer, and is waited for");
    scene.probe.on(Verb::Release).ok();
    assert_eq!(answer.await.unwrap(), StatusCode::OK);
    assert_eq!(scene.exits().await, [Exit::Failed, Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_gives_up_on_a_commit_that_goes_on() {
    let scene = Scene::new(Probe::new().settling());
    let app = app(&scene).layer(scene.layer()).layer(timeout());
    assert_eq!(within(ask(app.clone(), "/hangs")).await.status(), StatusCode::REQUEST_TIMEOUT);
    scene.exit().await;

    scene.probe.on(Verb::Release).close();
    assert_eq!(ask(app, "/").await.status(), StatusCode::REQUEST_TIMEOUT);
    scene.probe.on(Verb::Release).ok();
    assert_eq!(
        scene.exits().await,
        [Exit::Cancelled, Exit::Completed],
        "committed, and the client was told of a timeout"
    );
}

/// Right, and without another layer.
#[tokio::test(start_paused = true)]
async fn the_layers_own_timeout_ends_the_handler_and_not_the_commit() {
    let scene = Scene::new(Probe::new().settling());
    let app = app(&scene).layer(scene.layer().timeout(TIMEOUT));
    assert_eq!(within(ask(app.clone(), "/hangs")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    scene.exit().await;

    scene.probe.on(Verb::Release).close();
    let answer = tokio::spawn(async move { ask(app, "/").await.status() });
    tokio::time::sleep(2 * TIMEOUT).await;
    assert!(!answer.is_finished(), "the COMMIT takes longer, and is waited for");
    scene.probe.on(Verb::Release).ok();
    assert_eq!(answer.await.unwrap(), StatusCode::OK);
    assert_eq!(scene.exits().await, [Exit::Cancelled, Exit::Completed]);
}

#[tokio::test]
async fn the_fallback_has_a_scope_and_a_route_added_later_has_none() {
    async fn has_scope(request: Request, next: Next) -> Response {
        let has = request.try_scope().is_ok();
        let mut response = next.run(request).await;
        response.headers_mut().insert("scope", if has { "yes" } else { "no" }.parse().unwrap());
        response
    }

    let scene = Scene::new(Probe::new());
    let late = any(|| async {}).layer(from_fn(has_scope));
    let app = app(&scene).layer(from_fn(has_scope)).layer(scene.layer()).route("/late", late);
    for (path, has) in [("/", "yes"), ("/nowhere", "yes"), ("/late", "no")] {
        assert_eq!(ask(app.clone(), path).await.headers()["scope"], has, "{path}");
    }
    assert_eq!(scene.exit().await, Exit::Completed);
}

#[tokio::test]
async fn a_verdict_from_outside_comes_too_late() {
    async fn spoils(mut response: Response) -> Response {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }

    for (outside, told) in [(false, Exit::Failed), (true, Exit::Completed)] {
        let scene = Scene::new(Probe::new().settling());
        let app = match outside {
            false => app(&scene).layer(map_response(spoils)).layer(scene.layer()),
            true => app(&scene).layer(scene.layer()).layer(map_response(spoils)),
        };
        assert_eq!(ask(app, "/").await.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(scene.exit().await, told);
    }
}

#[tokio::test]
async fn what_stands_outside_has_no_scope() {
    async fn sees_none(request: Request, next: Next) -> Response {
        assert!(request.try_scope().is_err());
        next.run(request).await
    }

    let scene = Scene::new(Probe::new());
    let response = ask(app(&scene).layer(scene.layer()).layer(from_fn(sees_none)), "/").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(scene.exit().await, Exit::Completed);
}
