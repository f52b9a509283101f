//! The routes, and the layers around them.
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use reqscope::Scopes;
use reqscope_tower::ScopeLayer;

use crate::db::Db;
use crate::error::log_failures;
use crate::{auth, health, orders, products, report, users};

/// Builds the router. Its requests have scopes of `scopes`.
pub(crate) fn router(db: Db, scopes: &Scopes) -> Router {
    let for_users = Router::new()
        .route("/users/me", get(users::me))
        .route("/products", get(products::list).post(products::create))
        .route("/orders", get(orders::list).post(orders::create))
        .route("/report", get(report::lines))
        .route_layer(from_fn_with_state(db.clone(), auth::require_user));
    // The last layer is the outermost. Authentication uses the scope, so its layer is inside of the `ScopeLayer`.
    let scoped = Router::new()
        .route("/users", post(users::register))
        .merge(for_users)
        .layer(ScopeLayer::new(scopes).timeout(Duration::from_secs(10)))
        .layer(from_fn(log_failures));
    // Merged after the layers: these routes have no scope, and cannot wait for anything.
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .merge(scoped)
        .with_state(db)
}
