//! Products, and how many of each are in stock.
use axum::Json;
use axum::http::StatusCode;
use reqscope_sqlite::rusqlite::OptionalExtension;
use reqscope_sqlite::{SqliteConn, SqliteError};
use serde::{Deserialize, Serialize};

use crate::db::Tx;
use crate::error::AppError;

#[derive(Serialize)]
pub(crate) struct Product {
    id: i64,
    name: String,
    /// In cents.
    price: u32,
    stock: u32,
}

#[derive(Deserialize)]
pub(crate) struct NewProduct {
    name: String,
    price: u32,
    stock: u32,
}

/// `POST /products`
pub(crate) async fn create(Tx(tx): Tx, Json(product): Json<NewProduct>) -> Result<(StatusCode, Json<i64>), AppError> {
    let id = insert(&mut *tx.get().await?, product).await?;
    Ok((StatusCode::CREATED, Json(id)))
}

/// `GET /products`
pub(crate) async fn list(Tx(tx): Tx) -> Result<Json<Vec<Product>>, AppError> {
    Ok(Json(all(&mut *tx.get().await?).await?))
}

/// Inserts a product and returns its id.
async fn insert(conn: &mut SqliteConn, new: NewProduct) -> Result<i64, SqliteError> {
    let insert = "INSERT INTO products (name, price, stock) VALUES (?1, ?2, ?3) RETURNING id";
    conn.call(move |sql| sql.query_row(insert, (new.name, new.price, new.stock), |row| row.get(0))).await
}

/// Returns all products.
async fn all(conn: &mut SqliteConn) -> Result<Vec<Product>, SqliteError> {
    conn.call(|sql| {
        let mut select = sql.prepare_cached("SELECT id, name, price, stock FROM products ORDER BY id")?;
        let products = select.query_map((), |row| {
            Ok(Product { id: row.get(0)?, name: row.get(1)?, price: row.get(2)?, stock: row.get(3)? })
        })?;
        products.collect()
    })
    .await
}

/// Takes `quantity` of a product out of the stock, and returns its price.
///
/// # Errors
///
/// [`OutOfStock`](AppError::OutOfStock) and [`NoSuchProduct`](AppError::NoSuchProduct), besides those of the database.
pub(crate) async fn take(conn: &mut SqliteConn, id: i64, quantity: u16) -> Result<u32, AppError> {
    // In the closure, `?` is for errors of the database. The answer itself is a result, too.
    conn.call(move |sql| {
        let update = "UPDATE products SET stock = stock - ?2 WHERE id = ?1 AND stock >= ?2 RETURNING price";
        let price = sql.prepare_cached(update)?.query_row((id, quantity), |row| row.get(0)).optional()?;
        Ok(match price {
            Some(price) => Ok(price),
            None if sql.prepare_cached("SELECT 1 FROM products WHERE id = ?1")?.exists([id])? => {
                Err(AppError::OutOfStock(id))
            }
            None => Err(AppError::NoSuchProduct(id)),
        })
    })
    .await?
}
