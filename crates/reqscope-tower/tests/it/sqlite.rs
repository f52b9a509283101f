//! A transaction per request, on a real database.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, Path, Request, State};
use axum::routing::{get, post};
use http::{Method, StatusCode};
use reqscope::{Exit, Lease, Pool, Scopes};
use reqscope_sqlite::{Sqlite, Transaction};
use reqscope_testkit::drained;
use reqscope_tower::{RequestScope, ScopeError, ScopeLayer, Scoped};
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::support::text;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS visits (page TEXT NOT NULL UNIQUE)";

type Db = Transaction<Pool<Sqlite>>;

/// Writes the page, and then returns the status of the path.
async fn visit(Scoped(tx): Scoped<Db>, Path((page, code)): Path<(String, u16)>) -> Result<StatusCode, ScopeError> {
    let mut tx = tx.get().await?;
    let insert =
        move |db: &mut reqscope_sqlite::rusqlite::Connection| db.execute("INSERT INTO visits VALUES (?1)", [page]);
    tx.call(insert).await?;
    Ok(StatusCode::from_u16(code).unwrap())
}

async fn pages(Scoped(tx): Scoped<Db>) -> Result<String, ScopeError> {
    let mut tx = tx.get().await?;
    let select = "SELECT coalesce(group_concat(page, ' '), '') FROM (SELECT page FROM visits ORDER BY page)";
    Ok(tx.call(move |db| db.query_row(select, (), |row| row.get(0))).await?)
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
    drained(&scopes).await;
}

#[derive(Clone)]
struct Shop {
    db: Arc<Db>,
    pool: Arc<Pool<Sqlite>>,
    seen: mpsc::UnboundedSender<i64>,
}

impl FromRef<Shop> for Arc<Db> {
    fn from_ref(shop: &Shop) -> Self {
        shop.db.clone()
    }
}

/// Writes a page, and spawns a task that counts the pages on another connection when the request has ended.
async fn visit_and_count(
    State(shop): State<Shop>,
    RequestScope(request): RequestScope,
    Scoped(tx): Scoped<Db>,
    Path(page): Path<String>,
) -> Result<(), ScopeError> {
    let mut tx = tx.get().await?;
    let written = page.clone();
    tx.call(move |db| db.execute("INSERT INTO visits VALUES (?1)", [written])).await?;
    tokio::spawn(async move {
        assert_eq!(request.ended().await.unwrap(), Exit::Completed);
        let mut db = Lease::acquire(&shop.pool).await.unwrap();
        let count = "SELECT count(*) FROM visits WHERE page = ?1";
        let seen = db.call(move |db| db.query_row(count, [page], |row| row.get(0))).await.unwrap();
        Lease::complete(db).await.unwrap();
        shop.seen.send(seen).unwrap();
    });
    Ok(())
}

/// A task that waited for `closed()` saw the old state in a third of the runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_that_waits_for_the_end_sees_the_committed_row() {
    let sqlite = Sqlite::builder().on_open(|db| db.execute_batch(TABLE)).build_temporary().unwrap();
    let pool = Arc::new(Pool::builder().max_size(3).build(sqlite));
    let (seen, mut all) = mpsc::unbounded_channel();
    let shop = Shop { db: Arc::new(Transaction::new(pool.clone())), pool, seen };
    let scopes = Scopes::new();
    let app =
        Router::new().route("/visit/{page}", post(visit_and_count)).with_state(shop).layer(ScopeLayer::new(&scopes));
    for run in 0..1000 {
        let request = Request::post(format!("/visit/{run}")).body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
        assert_eq!(all.recv().await, Some(1), "run {run}");
    }
    drained(&scopes).await;
}
