//! The labels of requests, in an axum router.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, get};
use http::Method;
use reqscope::Scopes;
use reqscope::context::Label;
use reqscope_tower::{RequestScope, ScopeLayer};
use tower::{Layer, ServiceExt};

use crate::support::text;

async fn label(RequestScope(scope): RequestScope) -> String {
    scope.label().map_or_else(|| "none".to_owned(), |label| label.to_string())
}

fn layer() -> ScopeLayer {
    ScopeLayer::new(&Scopes::new())
}

fn request(method: &str, path: &str) -> Request {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

/// Returns what a request of this router sees as its label.
async fn seen(app: &Router, method: &str, path: &str) -> String {
    let response: Response = app.clone().oneshot(request(method, path)).await.unwrap();
    text(response).await
}

#[tokio::test]
async fn label_is_the_method_and_the_matched_route() {
    let orders = Router::new().route("/orders/{id}", get(label).delete(label));
    let app = orders.clone().nest("/api", orders).layer(layer());
    for _ in 0..2 {
        assert_eq!(seen(&app, "GET", "/orders/7").await, "GET /orders/{id}");
        assert_eq!(seen(&app, "GET", "/orders/8?secret=1").await, "GET /orders/{id}");
        assert_eq!(seen(&app, "DELETE", "/orders/7").await, "DELETE /orders/{id}");
        assert_eq!(seen(&app, "GET", "/api/orders/7").await, "GET /api/orders/{id}");
    }
}

/// Labels are remembered by thread, in fewer places than these routes.
#[tokio::test]
async fn routes_keep_their_labels_apart() {
    let paths: Vec<String> = (0..300).map(|number| format!("/{number}/{{id}}")).collect();
    let app = paths.iter().fold(Router::new(), |app, path| app.route(path, any(label))).layer(layer());
    for _ in 0..2 {
        for path in &paths {
            assert_eq!(seen(&app, "GET", path).await, format!("GET {path}"));
            assert_eq!(seen(&app, "PUT", path).await, format!("PUT {path}"));
        }
    }
}

/// A raw path has too many values for a metric, and may contain a token.
#[tokio::test]
async fn request_without_a_route_has_no_label() {
    let app = Router::new().route("/orders", get(label)).fallback(label).layer(layer());
    assert_eq!(seen(&app, "GET", "/reset/s3cr3t").await, "none");
    // The router has not run yet when the layer opens the scope.
    let outside = layer().layer(Router::new().route("/orders", get(label)));
    let response = outside.oneshot(request("GET", "/orders")).await.unwrap();
    assert_eq!(text(response).await, "none");
}

/// A client could make a new series of a metric with each request.
#[tokio::test]
async fn invented_methods_share_a_label() {
    let app = Router::new().route("/", any(label)).layer(layer());
    for method in ["BREW", "WHEN", "BREW"] {
        assert_eq!(seen(&app, method, "/").await, "_OTHER /");
    }
    assert_eq!(seen(&app, Method::GET.as_str(), "/").await, "GET /");
}

#[tokio::test]
async fn function_of_the_layer_replaces_the_route() {
    let labelled = layer().label(|request| {
        let matched = request.extensions().get::<axum::extract::MatchedPath>();
        matched.filter(|path| path.as_str() != "/health").map(|path| Label::new(path.as_str()))
    });
    let app = Router::new().route("/health", get(label)).route("/orders/{id}", get(label)).layer(labelled);
    assert_eq!(seen(&app, "GET", "/orders/7").await, "/orders/{id}");
    assert_eq!(seen(&app, "GET", "/health").await, "none");
}
