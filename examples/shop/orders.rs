//! Orders and their lines.
//!
//! The functions below the handlers take a `&mut SqliteConn`. They work in whatever transaction their caller is in,
//! and know nothing of HTTP, so a background job can call them as well.
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use reqscope_sqlite::{SqliteConn, SqliteError};
use reqscope_tower::RequestScope;
use serde::{Deserialize, Serialize};

use crate::db::{Db, Tx};
use crate::error::AppError;
use crate::users::User;
use crate::{events, products};

#[derive(Deserialize)]
pub(crate) struct NewOrder {
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
struct Line {
    product: i64,
    quantity: u16,
}

#[derive(Serialize)]
pub(crate) struct Order {
    id: i64,
    /// In cents.
    total: i64,
}

/// `POST /orders`
pub(crate) async fn create(
    Tx(tx): Tx,
    RequestScope(request): RequestScope,
    State(db): State<Db>,
    Extension(user): Extension<User>,
    Json(order): Json<NewOrder>,
) -> Result<(StatusCode, Json<Order>), AppError> {
    let order = place(&mut *tx.get().await?, user.id, order.lines).await?;
    events::deliver_after(&request, db);
    Ok((StatusCode::CREATED, Json(order))) // COMMIT, and then the head is sent and the event delivered
}

/// `GET /orders`
pub(crate) async fn list(Tx(tx): Tx, Extension(user): Extension<User>) -> Result<Json<Vec<Order>>, AppError> {
    Ok(Json(of_buyer(&mut *tx.get().await?, user.id).await?))
}

/// Places an order: takes its lines out of the stock, inserts them, and records an event.
///
/// An error half-way undoes nothing here: that is the rollback of the caller's transaction.
async fn place(conn: &mut SqliteConn, buyer: i64, lines: Vec<Line>) -> Result<Order, AppError> {
    if !(1..=100).contains(&lines.len()) || lines.iter().any(|line| line.quantity == 0) {
        return Err(AppError::Invalid("an order has 1 to 100 lines, and none of them is empty"));
    }
    let id = insert(conn, buyer).await?;
    let mut total = 0;
    for line in lines {
        let price = products::take(conn, line.product, line.quantity).await?;
        insert_line(conn, id, line, price).await?;
        total += i64::from(price) * i64::from(line.quantity);
    }
    let order = Order { id, total };
    // Not the client's fault.
    let event = serde_json::to_string(&order).map_err(|error| AppError::Internal(error.into()))?;
    events::record(conn, "order_placed", event).await?;
    Ok(order)
}

/// Inserts an order without lines and returns its id.
async fn insert(conn: &mut SqliteConn, buyer: i64) -> Result<i64, SqliteError> {
    let insert = "INSERT INTO orders (buyer) VALUES (?1) RETURNING id";
    conn.call(move |sql| sql.prepare_cached(insert)?.query_row([buyer], |row| row.get(0))).await
}

async fn insert_line(conn: &mut SqliteConn, order: i64, line: Line, price: u32) -> Result<usize, SqliteError> {
    let insert = "INSERT INTO order_lines (order_id, product, quantity, price) VALUES (?1, ?2, ?3, ?4)";
    conn.call(move |sql| sql.prepare_cached(insert)?.execute((order, line.product, line.quantity, price))).await
}

/// Returns the orders of a user, the oldest first.
async fn of_buyer(conn: &mut SqliteConn, buyer: i64) -> Result<Vec<Order>, SqliteError> {
    conn.call(move |sql| {
        let mut select = sql.prepare_cached(
            "SELECT orders.id, sum(price * quantity) FROM orders JOIN order_lines ON order_id = orders.id
             WHERE buyer = ?1 GROUP BY orders.id ORDER BY orders.id",
        )?;
        let orders = select.query_map([buyer], |row| Ok(Order { id: row.get(0)?, total: row.get(1)? }))?;
        orders.collect()
    })
    .await
}
