//! The place of the layer among others, and what happens if it is put elsewhere.

use std::future::pending;
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
use reqscope_testkit::{Probe, Verb, expect_panic, poll_once, quiet_panic};
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
        quiet_panic("in the handler")
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
async fn panic_inside_catch_panic_closes_as_panicked() {
    let scene = Scene::new(Probe::new().settling());
    let response = ask(app(&scene).layer(scene.layer()).layer(CatchPanicLayer::new()), "/panics").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(scene.exit().await, Exit::Panicked);
}

#[tokio::test]
async fn panic_caught_inside_the_layer_closes_as_failed() {
    let scene = Scene::new(Probe::new().settling());
    let response = ask(app(&scene).layer(CatchPanicLayer::new()).layer(scene.layer()), "/panics").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(scene.exit().await, Exit::Failed);
}

/// No guard is held at the panic; one would have failed the scope.
#[tokio::test]
async fn panic_turned_into_a_200_inside_the_layer_commits() {
    let scene = Scene::new(Probe::new().settling());
    let catch = CatchPanicLayer::custom(|_| Response::new(Body::empty()));
    assert_eq!(ask(app(&scene).layer(catch).layer(scene.layer()), "/panics").await.status(), StatusCode::OK);
    assert_eq!(scene.exit().await, Exit::Completed);
}

#[tokio::test]
async fn panic_without_catch_panic_propagates() {
    let scene = Scene::new(Probe::new().settling());
    let mut answer = Box::pin(ask(app(&scene).layer(scene.layer()), "/panics"));
    expect_panic(|| poll_once(answer.as_mut()));
    assert_eq!(scene.exit().await, Exit::Panicked);
}

/// Right.
#[tokio::test(start_paused = true)]
async fn timeout_inside_ends_the_handler_and_not_the_commit() {
    let scene = Scene::new(Probe::new().settling());
    let app = app(&scene).layer(timeout()).layer(scene.layer());
    assert_eq!(within(ask(app.clone(), "/hangs")).await.status(), StatusCode::REQUEST_TIMEOUT);
    scene.exit().await;

    scene.probe.on(Verb::Release).close();
    let answer = tokio::spawn(async move { ask(app, "/").await.status() });
    tokio::time::sleep(2 * TIMEOUT).await;
    assert!(!answer.is_finished(), "the COMMIT takes longer than the timeout, and is awaited");
    scene.probe.on(Verb::Release).ok();
    assert_eq!(answer.await.unwrap(), StatusCode::OK);
    assert_eq!(scene.exits().await, [Exit::Failed, Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn timeout_outside_gives_up_on_a_commit_that_continues() {
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
        "committed, although the client received a timeout"
    );
}

/// Right, without another layer.
#[tokio::test(start_paused = true)]
async fn own_timeout_ends_the_handler_and_not_the_commit() {
    let scene = Scene::new(Probe::new().settling());
    let app = app(&scene).layer(scene.layer().timeout(TIMEOUT));
    assert_eq!(within(ask(app.clone(), "/hangs")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    scene.exit().await;

    scene.probe.on(Verb::Release).close();
    let answer = tokio::spawn(async move { ask(app, "/").await.status() });
    tokio::time::sleep(2 * TIMEOUT).await;
    assert!(!answer.is_finished(), "the COMMIT takes longer than the timeout, and is awaited");
    scene.probe.on(Verb::Release).ok();
    assert_eq!(answer.await.unwrap(), StatusCode::OK);
    assert_eq!(scene.exits().await, [Exit::Cancelled, Exit::Completed]);
}

#[tokio::test]
async fn fallback_has_a_scope_and_a_later_route_has_none() {
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
async fn status_changed_outside_does_not_change_the_exit() {
    async fn spoils(mut response: Response) -> Response {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }

    for (outside, exit) in [(false, Exit::Failed), (true, Exit::Completed)] {
        let scene = Scene::new(Probe::new().settling());
        let app = match outside {
            false => app(&scene).layer(map_response(spoils)).layer(scene.layer()),
            true => app(&scene).layer(scene.layer()).layer(map_response(spoils)),
        };
        assert_eq!(ask(app, "/").await.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(scene.exit().await, exit);
    }
}

#[tokio::test]
async fn middleware_outside_has_no_scope() {
    async fn sees_none(request: Request, next: Next) -> Response {
        assert!(request.try_scope().is_err());
        next.run(request).await
    }

    let scene = Scene::new(Probe::new());
    let response = ask(app(&scene).layer(scene.layer()).layer(from_fn(sees_none)), "/").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(scene.exit().await, Exit::Completed);
}
