//! The handlers of the shop, without a socket: a request goes into the router, on a database of its own.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report, in its helpers too")]

mod error;
mod db;
mod migrations;
mod users;
mod auth;
mod products;
mod events;
mod orders;
mod report;
mod health;
mod app;

use std::fs;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use reqscope::{Lease, Scopes};
use reqscope_sqlite::Sqlite;
use reqscope_sqlite::rusqlite::{self, Connection};
use reqscope_testkit::drained;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use crate::db::Db;

/// A shop with the user ann, and with five apples and one pear in stock.
struct Shop {
    router: Router,
    db: Db,
    scopes: Scopes,
    /// The token of ann.
    token: String,
    folder: TempDir,
}

impl Shop {
    async fn open() -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::new(Sqlite::new(folder.path().join("shop.db")));
        let scopes = Scopes::new();
        migrations::run(&db, &scopes).await.unwrap();
        let router = app::router(db.clone(), &scopes);
        let mut shop = Shop { router, db, scopes, token: String::new(), folder };
        let (status, ann) = shop.post("/users", json!({ "name": "ann" })).await;
        assert_eq!(status, StatusCode::CREATED);
        shop.token = ann["token"].as_str().unwrap().to_owned();
        for (name, price, stock) in [("apple", 30, 5), ("pear", 50, 1)] {
            let product = json!({ "name": name, "price": price, "stock": stock });
            assert_eq!(shop.post("/products", product).await.0, StatusCode::CREATED);
        }
        shop
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> Response {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        read(self.send(Method::POST, path, body.to_string().into()).await).await
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.send(Method::GET, path, Body::empty()).await).await
    }

    /// Does something to the database beside the requests.
    async fn sql<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> T {
        let mut tx = Lease::acquire(&self.db.writing).await.unwrap();
        let result = tx.call(run).await.unwrap();
        Lease::complete(tx).await.unwrap();
        result
    }

    async fn count(&self, table: &str) -> u32 {
        let select = format!("SELECT count(*) FROM {table}");
        self.sql(move |sql| sql.query_row(&select, (), |row| row.get(0))).await
    }

    /// Returns how many apples and pears are in stock.
    async fn stock(&self) -> [u64; 2] {
        let (_, products) = self.get("/products").await;
        [0, 1].map(|product| products[product]["stock"].as_u64().unwrap())
    }

    /// Waits until every scope is closed and every handle released, and fails if one is not.
    async fn drain(self) {
        drained(&self.scopes).await;
        let stats = self.scopes.stats();
        assert_eq!((stats.open_scopes, stats.live, stats.acquired), (0, 0, stats.released), "{stats:?}");
        let report = self.db.connections.close(Duration::from_secs(5)).await;
        assert!(report.is_clean(), "{report:?}");
        self.folder.close().unwrap();
    }
}

/// Reads a response to its end. What is not JSON is `Null`.
async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn order(lines: &[(i64, u16)]) -> Value {
    let lines: Vec<Value> =
        lines.iter().map(|(id, quantity)| json!({ "product": id, "quantity": quantity })).collect();
    json!({ "lines": lines })
}

#[tokio::test]
async fn order_is_stored_with_its_event() {
    let shop = Shop::open().await;
    let answer = shop.post("/orders", order(&[(1, 3), (2, 1)])).await;
    assert_eq!(answer, (StatusCode::CREATED, json!({ "id": 1, "total": 140 })));
    assert_eq!(shop.get("/orders").await, (StatusCode::OK, json!([{ "id": 1, "total": 140 }])));
    assert_eq!(shop.stock().await, [2, 0]);
    let event: String = shop.sql(|sql| sql.query_row("SELECT body FROM events", (), |row| row.get(0))).await;
    assert_eq!(event, r#"{"id":1,"total":140}"#);
    shop.drain().await;
}

#[tokio::test]
async fn order_with_too_little_stock_rolls_back_whole() {
    let shop = Shop::open().await;
    // The apples are taken out of the stock before the second line finds too few pears.
    let (status, answer) = shop.post("/orders", order(&[(1, 3), (2, 2)])).await;
    assert_eq!((status, &answer["error"]), (StatusCode::CONFLICT, &"too little of product 2 in stock".into()));
    assert_eq!(shop.stock().await, [5, 1]);
    assert_eq!((shop.count("orders").await, shop.count("order_lines").await), (0, 0));
    shop.drain().await;
}

#[tokio::test]
async fn invalid_order_is_422() {
    let shop = Shop::open().await;
    for lines in [&[][..], &[(1, 0)], &[(1, 1), (7, 1)]] {
        assert_eq!(shop.post("/orders", order(lines)).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(shop.count("orders").await, 0);
    shop.drain().await;
}

/// The lines are inserted and the stock is changed before the event fails.
#[tokio::test]
async fn failure_after_writes_leaves_nothing() {
    let shop = Shop::open().await;
    shop.sql(|sql| sql.execute_batch("DROP TABLE events")).await;
    // The response does not name the cause.
    assert_eq!(shop.post("/orders", order(&[(1, 3)])).await, (StatusCode::INTERNAL_SERVER_ERROR, Value::Null));
    assert_eq!(shop.stock().await, [5, 1]);
    assert_eq!((shop.count("orders").await, shop.count("order_lines").await), (0, 0));
    shop.drain().await;
}

#[tokio::test]
async fn wrong_token_is_401() {
    let mut shop = Shop::open().await;
    shop.token = "guessed".to_owned();
    for path in ["/orders", "/products", "/report"] {
        assert_eq!(shop.get(path).await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(shop.post("/orders", order(&[(1, 1)])).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(shop.count("orders").await, 0);
    shop.drain().await;
}

#[tokio::test]
async fn request_without_token_acquires_nothing() {
    let shop = Shop::open().await;
    let acquired = shop.scopes.stats().acquired;
    let request = Request::get("/orders").body(Body::empty()).unwrap();
    let response = shop.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(shop.scopes.stats().acquired, acquired);
    shop.drain().await;
}

#[tokio::test]
async fn authentication_and_handler_share_one_transaction() {
    let shop = Shop::open().await;
    let acquired = shop.scopes.stats().acquired;
    // Nothing is delivered after a refused order: a delivery acquires, too, beside the next request.
    assert_eq!(shop.post("/orders", order(&[(2, 2)])).await.0, StatusCode::CONFLICT);
    assert_eq!(shop.get("/orders").await.0, StatusCode::OK);
    // A transaction and its connection for each request.
    assert_eq!(shop.scopes.stats().acquired, acquired + 4);
    shop.drain().await;
}

/// The delivery runs after the COMMIT and in a transaction of its own, so it sees the event.
#[tokio::test]
async fn event_is_delivered_after_a_success_only() {
    let shop = Shop::open().await;
    let delivered = async || {
        // The answer does not wait for the delivery. A drain does.
        assert!(shop.scopes.drain(Duration::from_secs(5)).await.is_clean());
        shop.sql(|sql| sql.query_row("SELECT count(*) FROM events WHERE delivered", (), |row| row.get::<_, u32>(0)))
            .await
    };
    assert_eq!(shop.post("/orders", order(&[(2, 2)])).await.0, StatusCode::CONFLICT);
    assert_eq!(delivered().await, 0);
    assert_eq!(shop.post("/orders", order(&[(1, 1)])).await.0, StatusCode::CREATED);
    assert_eq!(delivered().await, 1);
    shop.drain().await;
}

/// A read that took its turn among the writers would wait here until its deadline.
#[tokio::test]
async fn read_does_not_wait_for_a_writer() {
    let shop = Shop::open().await;
    let writer = Lease::acquire(&shop.db.writing).await.unwrap();
    assert_eq!(shop.get("/users/me").await, (StatusCode::OK, json!({ "id": 1, "name": "ann" })));
    Lease::fail(writer).await.unwrap();
    shop.drain().await;
}

#[tokio::test]
async fn taken_name_is_409() {
    let shop = Shop::open().await;
    assert_eq!(shop.post("/users", json!({ "name": "ann" })).await.0, StatusCode::CONFLICT);
    assert_eq!(shop.count("users").await, 1);
    shop.drain().await;
}

/// Inserts an order with so many lines.
fn insert_lines(sql: &Connection, lines: u32) -> rusqlite::Result<()> {
    sql.execute("INSERT INTO orders (buyer) VALUES (1)", ())?;
    let insert = "WITH RECURSIVE counted AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM counted WHERE n < ?1)
                  INSERT INTO order_lines (order_id, product, quantity, price) SELECT 1, 1, n, 30 FROM counted";
    sql.execute(insert, [lines])?;
    Ok(())
}

#[tokio::test]
async fn report_streams_all_lines() {
    let shop = Shop::open().await;
    shop.sql(|sql| insert_lines(sql, 1700)).await; // three pages, and a part of one
    let response = shop.send(Method::GET, "/report", Body::empty()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let expected: String = (1..=1700).map(|n| format!("1,1,{n},30\n")).collect();
    assert_eq!(body, expected);
    shop.drain().await;
}

/// It reads from one snapshot, so what is written meanwhile is not in it.
#[tokio::test]
async fn report_does_not_see_later_writes() {
    let shop = Shop::open().await;
    shop.sql(|sql| insert_lines(sql, 600)).await;
    let response = shop.send(Method::GET, "/report", Body::empty()).await;
    assert_eq!(shop.db.connections.status().in_use, 1);
    shop.sql(|sql| insert_lines(sql, 10)).await;
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(body.iter().filter(|byte| **byte == b'\n').count(), 600);
    shop.drain().await;
}

#[tokio::test]
async fn report_dropped_before_its_end_releases_its_connection() {
    let shop = Shop::open().await;
    shop.sql(|sql| insert_lines(sql, 600)).await;
    drop(shop.send(Method::GET, "/report", Body::empty()).await); // what a server does when the client hangs up
    shop.drain().await;
}

#[tokio::test]
async fn readiness_follows_the_pool() {
    let shop = Shop::open().await;
    let (status, pool) = shop.get("/health/ready").await;
    assert_eq!((status, &pool["max_size"], &pool["waiting"]), (StatusCode::OK, &10.into(), &0.into()));

    // The file is gone, and connections that are opened from now on fail.
    let (file, elsewhere) = (shop.folder.path().join("shop.db"), shop.folder.path().join("elsewhere"));
    fs::rename(&file, &elsewhere).unwrap();
    shop.db.connections.clear();
    assert_eq!(shop.get("/orders").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(shop.get("/health/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(shop.get("/health/live").await.0, StatusCode::NO_CONTENT);

    // It is back, and the pool notices that without any request.
    fs::rename(&elsewhere, &file).unwrap();
    let back = async {
        while shop.get("/health/ready").await.0 != StatusCode::OK {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), back).await.unwrap();
    assert_eq!(shop.get("/orders").await.0, StatusCode::OK);
    shop.drain().await;
}

#[tokio::test]
async fn closed_pool_is_503() {
    let shop = Shop::open().await;
    assert!(shop.db.connections.close(Duration::from_secs(5)).await.is_clean());
    let response = shop.send(Method::POST, "/orders", order(&[(1, 1)]).to_string().into()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    shop.drain().await;
}

#[tokio::test]
async fn migrations_run_once() {
    let shop = Shop::open().await;
    migrations::run(&shop.db, &shop.scopes).await.unwrap();
    assert_eq!(shop.count("users").await, 1);
    shop.sql(|sql| sql.pragma_update(None, "user_version", 1000)).await;
    let error = migrations::run(&shop.db, &shop.scopes).await.unwrap_err();
    assert_eq!(error.to_string(), "the database is of a newer version");
    shop.drain().await;
}
