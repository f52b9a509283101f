//! A transaction per request, on a real database.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::routing::{get, post};
use http::{Method, StatusCode};
use reqscope::{Error, Pool, Scopes};
use reqscope_sqlite::{Sqlite, Transaction};
use reqscope_tower::{ScopeError, ScopeLayer, Scoped};
use tower::ServiceExt;

use crate::support::text;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS visits (page TEXT NOT NULL UNIQUE)";

type Db = Transaction<Pool<Sqlite>>;

/// Writes the page, and then returns the status of the path.
async fn visit(Scoped(tx): Scoped<Db>, Path((page, code)): Path<(String, u16)>) -> Result<StatusCode, ScopeError> {
    let mut tx = tx.get().await?;
    let insert =
        move |db: &mut reqscope_sqlite::rusqlite::Connection| db.execute("INSERT INTO visits VALUES (?1)", [page]);
    tx.call(insert).await.map_err(Error::failed)?;
    Ok(StatusCode::from_u16(code).unwrap())
}

async fn pages(Scoped(tx): Scoped<Db>) -> Result<String, ScopeError> {
    let mut tx = tx.get().await?;
    let select = "SELECT coalesce(group_concat(page, ' '), '') FROM (SELECT page FROM visits ORDER BY page)";
    Ok(tx.call(move |db| db.query_row(select, (), |row| row.get(0))).await.map_err(Error::failed)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_success_is_committed_before_its_response() {
    let sqlite = Sqlite::builder().on_open(|db| db.execute_batch(TABLE)).build_temporary().unwrap();
    let db = Arc::new(Transaction::new(Arc::new(Pool::builder().max_size(2).build(sqlite))));
    let scopes = Scopes::new();
    let app = Router::new()
        .route("/visit/{page}/{code}", post(visit))
        .route("/pages", get(pages))
        .with_state(db)
        .layer(ScopeLayer::new(&scopes));
    let ask = |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let app = app.clone();
        async move { app.oneshot(request).await.unwrap() }
    };

    for (path, code) in [("/visit/a/200", 200), ("/visit/b/404", 404), ("/visit/c/303", 303), ("/visit/a/200", 500)] {
        assert_eq!(ask(Method::POST, path).await.status(), code, "{path}");
    }
    assert_eq!(text(ask(Method::GET, "/pages").await).await, "a c");
    assert!(scopes.drain(Duration::from_secs(60)).await.is_clean());
}
