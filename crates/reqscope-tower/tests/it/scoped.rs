//! The extractors, through an axum router.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::any;
use http::StatusCode;
use reqscope::scope::LazyState;
use reqscope::wrap::Tagged;
use reqscope::{Exit, Observer, ResourceExt, Scopes};
use reqscope_testkit::{Probe, Verb, poll_once};
use reqscope_tower::{MissingScope, RequestScope, ScopeError, ScopeLayer, Scoped};
use tower::ServiceExt;

use crate::support::{Scene, text};

/// Sends a request to this router and returns the response.
async fn ask(app: Router) -> Response {
    app.oneshot(Request::new(Body::empty())).await.unwrap()
}

async fn uses(Scoped(probe): Scoped<Probe>) -> Result<String, ScopeError> {
    let mut handle = probe.get().await?;
    handle.use_once();
    Ok(handle.id().to_string())
}

#[tokio::test]
async fn unused_extractor_acquires_nothing() {
    let scene = Scene::new(Probe::new());
    let unused = |probe: Scoped<Probe>| async move { format!("{:?}", probe.state()) };
    let app = Router::new().route("/", any(unused)).with_state(scene.probe.clone()).layer(scene.layer());
    assert_eq!(text(ask(app).await).await, format!("{:?}", LazyState::Unused));
    assert_eq!(scene.probe.counts().acquires, 0);
    assert!(scene.exits().await.is_empty());
}

/// L11.
#[tokio::test]
async fn response_waits_for_the_commit() {
    let scene = Scene::new(Probe::new().settling());
    scene.probe.on(Verb::Release).close();
    let app = Router::new().route("/", any(uses)).with_state(scene.probe.clone()).layer(scene.layer());
    let mut answer = Box::pin(ask(app));
    assert!(poll_once(answer.as_mut()).is_pending());
    assert_eq!(scene.probe.on(Verb::Release).waiting(), 1);
    scene.probe.on(Verb::Release).ok();
    assert_eq!(answer.await.status(), StatusCode::OK);
    assert_eq!(scene.exit().await, Exit::Completed);
}

#[tokio::test]
async fn extracting_twice_shares_one_handle() {
    let scene = Scene::new(Probe::new());
    let twice = |Scoped(one): Scoped<Probe>, Scoped(other): Scoped<Probe>| async move {
        let one = one.get().await.unwrap().id();
        assert_eq!(one, other.get().await.unwrap().id());
    };
    let app = Router::new().route("/", any(twice)).with_state(scene.probe.clone()).layer(scene.layer());
    assert_eq!(ask(app).await.status(), StatusCode::OK);
    assert_eq!(scene.exit().await, Exit::Completed);
}

#[tokio::test]
async fn middleware_and_handler_share_one_handle() {
    async fn by_extractor(Scoped(probe): Scoped<Probe>, request: Request, next: Next) -> Response {
        assert_eq!(probe.get().await.unwrap().id(), 0);
        let response = next.run(request).await;
        assert_eq!(
            probe.get().await.unwrap().id(),
            0,
            "the handle is available to middleware until the scope closes"
        );
        response
    }

    let scene = Scene::new(Probe::new());
    let probe = scene.probe.clone();
    let by_scope = move |RequestScope(scope): RequestScope, request: Request, next: Next| {
        let lazy = scope.lazy(&probe);
        async move {
            assert_eq!(lazy.get().await.unwrap().id(), 0);
            next.run(request).await
        }
    };
    let app = Router::new()
        .route("/", any(uses))
        .layer(from_fn_with_state(scene.probe.clone(), by_extractor))
        .layer(from_fn(by_scope))
        .with_state(scene.probe.clone())
        .layer(scene.layer());
    assert_eq!(text(ask(app).await).await, "0");
    assert_eq!(scene.exit().await, Exit::Completed);
}

/// The name of a second resource of the same type.
enum Audit {}

type AuditProbe = Tagged<Probe, Audit>;

#[derive(Clone)]
struct Two {
    orders: Arc<Probe>,
    audit: Arc<AuditProbe>,
}

impl FromRef<Two> for Arc<Probe> {
    fn from_ref(two: &Two) -> Self {
        two.orders.clone()
    }
}

impl FromRef<Two> for Arc<AuditProbe> {
    fn from_ref(two: &Two) -> Self {
        two.audit.clone()
    }
}

#[tokio::test]
async fn tag_distinguishes_two_databases_of_one_type() {
    async fn both(Scoped(orders): Scoped<Probe>, Scoped(audit): Scoped<AuditProbe>) -> Result<String, ScopeError> {
        let (orders, audit) = (orders.get().await?, audit.get().await?);
        Ok(format!("{} {}", orders.id(), audit.id()))
    }

    let orders = Probe::new().settling();
    let audit = orders.sibling().settling();
    let scene = Scene::new(orders);
    let state = Two { orders: scene.probe.clone(), audit: Arc::new(audit.clone().tagged()) };
    let app = || Router::new().route("/", any(both)).with_state(state.clone()).layer(scene.layer());
    assert_eq!(text(ask(app()).await).await, "0 1");

    audit.on(Verb::Release).error();
    assert_eq!(ask(app()).await.status(), StatusCode::INTERNAL_SERVER_ERROR, "its COMMIT was awaited too");
    assert_eq!(scene.exits().await, [Exit::Completed; 4]);
}

/// Without a tag: the resources are found by field and not by type.
#[tokio::test]
async fn request_scope_distinguishes_two_databases_of_one_type() {
    let scene = Scene::new(Probe::new());
    let other = Arc::new(scene.probe.sibling());
    let state = [scene.probe.clone(), other];
    let both = |RequestScope(scope): RequestScope, State([one, other]): State<[Arc<Probe>; 2]>| async move {
        let (one, other) = (scope.lazy(&one), scope.lazy(&other));
        let (one, other) = (one.get().await.unwrap(), other.get().await.unwrap());
        format!("{} {}", one.id(), other.id())
    };
    let app = Router::new().route("/", any(both)).with_state(state).layer(scene.layer());
    assert_eq!(text(ask(app).await).await, "0 1");
    assert_eq!(scene.exits().await, [Exit::Completed; 2]);
}

#[derive(Default)]
struct Doubles(AtomicUsize);

struct Counts(Arc<Doubles>);

impl Observer for Counts {
    fn second_resource(&self, resource: &'static str) {
        assert!(resource.ends_with("Probe"), "{resource}");
        self.0.0.fetch_add(1, Relaxed);
    }
}

#[derive(Clone)]
struct Careless {
    probe: Probe,
    kept: Option<Arc<Probe>>,
}

impl FromRef<Careless> for Arc<Probe> {
    fn from_ref(careless: &Careless) -> Self {
        careless.kept.clone().unwrap_or_else(|| Arc::new(careless.probe.clone()))
    }
}

#[tokio::test]
async fn arc_made_per_request_is_reported_to_the_observer() {
    let probe = Probe::new();
    for (kept, reported) in [(None, 1), (Some(Arc::new(probe.clone())), 0)] {
        let doubles = Arc::new(Doubles::default());
        let scopes = Scopes::builder().observer(Counts(doubles.clone())).build();
        let state = Careless { probe: probe.clone(), kept };
        let app = Router::new().route("/", any(uses)).with_state(state).layer(ScopeLayer::new(&scopes));
        for _ in 0..3 {
            assert_eq!(ask(app.clone()).await.status(), StatusCode::OK);
        }
        assert_eq!(doubles.0.load(Relaxed), reported);
        assert_eq!(scopes.stats().acquired, 3, "the `Arc` shown to the scope acquires nothing");
    }
}

#[tokio::test]
async fn response_without_the_layer_names_the_layer() {
    let by_scope = |RequestScope(scope): RequestScope| async move { scope.is_closed().to_string() };
    let app = Router::new().route("/", any(uses)).with_state(Arc::new(Probe::new()));
    for app in [app, Router::new().route("/", any(by_scope))] {
        let response = ask(app).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let error = response.extensions().get::<ScopeError>().unwrap().clone();
        assert!(error.source().is::<MissingScope>());
        assert!(error.source().to_string().contains("reqscope_tower::ScopeLayer"), "{error:?}");
        assert!(text(response).await.contains("reqscope_tower::ScopeLayer"));
    }
}

#[tokio::test]
async fn option_is_none_without_the_layer() {
    let optional = |probe: Option<Scoped<Probe>>, scope: Option<RequestScope>| async move {
        let Some(Scoped(probe)) = probe else { return format!("neither, {}", scope.is_none()) };
        format!("{}, {}", probe.get().await.unwrap().id(), scope.is_some())
    };
    let scene = Scene::new(Probe::new());
    let app = Router::new().route("/", any(optional)).with_state(scene.probe.clone());
    assert_eq!(text(ask(app.clone()).await).await, "neither, true");
    assert_eq!(text(ask(app.layer(scene.layer())).await).await, "0, true");
    assert_eq!(scene.exit().await, Exit::Completed);
}

/// Scope handles in the extensions of a request must not keep its scope open.
#[tokio::test]
async fn extractors_kept_by_the_handler_keep_no_scope_open() {
    let scene = Scene::new(Probe::new());
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keeps = kept.clone();
    let keep = move |scope: RequestScope, probe: Scoped<Probe>| {
        let keeps = keeps.clone();
        async move {
            probe.get().await.unwrap().use_once();
            *keeps.lock().unwrap() = Some((scope, probe));
        }
    };
    let app = Router::new().route("/", any(keep)).with_state(scene.probe.clone()).layer(scene.layer());
    assert_eq!(ask(app).await.status(), StatusCode::OK);
    assert_eq!(scene.exit().await, Exit::Completed);
    let (RequestScope(scope), probe) = kept.lock().unwrap().take().unwrap();
    assert!(scope.is_closed());
    assert!(probe.get().await.unwrap_err().is_closed());
}
