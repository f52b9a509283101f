//! What the client and the log learn about a resource that could not be acquired.

use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::StatusCode;
use http::header::RETRY_AFTER;
use reqscope::error::Stage;
use reqscope::{Error, Exit, Resource, Scopes};
use reqscope_testkit::{Gate, Probe, Scripted, Verb, poll_once};
use reqscope_tower::{ScopeError, ScopeLayer, Scoped};
use tower::ServiceExt;

use crate::support::{Scene, text};

/// Returns the cause that all errors here have.
fn scripted() -> Scripted {
    let gate = Gate::closed();
    gate.error();
    let Poll::Ready(Err(error)) = poll_once(pin!(gate.pass())) else { panic!("the gate did not fail at once") };
    *error.cause().unwrap()
}

#[tokio::test]
async fn temporary_error_is_a_503_with_retry_after() {
    let temporary = [
        Error::unavailable().with_cause(scripted()),
        Error::exhausted(),
        Error::timeout(Stage::Waiting, Duration::from_secs(5)),
        Error::closed(),
    ];
    for error in temporary {
        let response = ScopeError::from(error.clone()).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{error}");
        assert_eq!(response.headers()[RETRY_AFTER], "1", "{error}");
        assert_eq!(text(response).await, "", "{error}");
    }
}

#[tokio::test]
async fn permanent_error_is_a_500_without_retry_after() {
    let failures =
        [Error::failed(scripted()), Error::permanent(scripted()), Error::panicked(Stage::Acquiring, &"no")];
    for error in failures {
        let response = ScopeError::from(error.clone()).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{error}");
        assert!(response.headers().is_empty(), "{error}");
        assert_eq!(text(response).await, "", "{error}");
    }
}

#[test]
fn display_is_one_line_with_all_levels() {
    let error = ScopeError::from(Error::failed(scripted()).at(Stage::Acquiring));
    let line = "answered with 500 Internal Server Error: the resource failed while acquiring: scripted failure";
    assert_eq!(error.to_string(), line);
    let source: &Error<Scripted> = error.source().downcast_ref().unwrap();
    assert!(source.source().unwrap().is::<Scripted>());
}

/// A client, a proxy or a queue repeats a request that was answered with a 503 and `Retry-After`.
#[test]
fn unknown_outcome_is_a_500_that_invites_no_retry() {
    let late = Error::<Scripted>::timeout(Stage::Releasing, Duration::from_secs(5));
    for error in [Error::unknown_outcome(scripted()), late] {
        let response = ScopeError::from(error.clone()).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{error}");
        assert!(response.headers().is_empty(), "{error}");
    }
}

async fn uses(Scoped(probe): Scoped<Probe>) -> Result<(), ScopeError> {
    probe.get().await?.use_once();
    Ok(())
}

async fn answer(scopes: &Scopes, scene: &Scene) -> Response {
    let layer = ScopeLayer::new(scopes);
    let app = Router::new().route("/", any(uses)).with_state(scene.probe.clone()).layer(layer);
    app.oneshot(Request::new(Body::empty())).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn question_mark_converts_the_error() {
    let scene = Scene::new(Probe::new());
    scene.probe.on(Verb::Acquire).error().never();
    assert_eq!(answer(&scene.scopes, &scene).await.status(), StatusCode::INTERNAL_SERVER_ERROR);

    let short = Scopes::builder().acquire_timeout(Duration::from_secs(2)).build();
    let response = answer(&short, &scene).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error = response.extensions().get::<ScopeError>().unwrap();
    assert!(error.source().downcast_ref::<Error<Scripted>>().unwrap().is_timeout());
    assert!(scene.exits().await.is_empty());
}

#[tokio::test]
async fn outer_layer_finds_the_error_in_the_response() {
    async fn log(request: Request, next: Next) -> Response {
        let mut response = next.run(request).await;
        let error = response.extensions_mut().remove::<ScopeError>().unwrap();
        error.to_string().into_response()
    }

    let scene = Scene::new(Probe::new());
    scene.probe.on(Verb::Acquire).error();
    let app = Router::new().route("/", any(uses)).with_state(scene.probe.clone());
    let app = app.layer(scene.layer()).layer(from_fn(log));
    let log = text(app.oneshot(Request::new(Body::empty())).await.unwrap()).await;
    let line = "answered with 500 Internal Server Error: the resource failed while acquiring: scripted failure";
    assert_eq!(log, line);
}

/// A resource of which a release is refused says that it can be repeated, but another one may have committed.
#[tokio::test]
async fn error_of_a_close_is_a_500_although_its_cause_is_a_503() {
    struct Refusing;

    impl Resource for Refusing {
        type Handle = ();
        type Cause = Scripted;

        async fn acquire(&self) -> Result<(), Error<Scripted>> {
            Ok(())
        }

        async fn release(&self, (): (), _exit: Exit) -> Result<(), Error<Scripted>> {
            Err(Error::unavailable().with_cause(scripted()))
        }

        fn settles(&self, exit: Exit) -> bool {
            exit.is_completed()
        }
    }

    let scope = Scopes::new().open();
    drop(scope.lazy(&Arc::new(Refusing)).get().await.unwrap());
    let error = scope.close(Exit::Completed).await.unwrap_err();
    let response = ScopeError::from(error).into_response();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(response.headers().is_empty());
}

#[test]
fn display_escapes_the_text_of_a_peer() {
    let error = ScopeError::new("no row\nERROR forged");
    assert_eq!(error.to_string(), r"answered with 500 Internal Server Error: no row\nERROR forged");
}
