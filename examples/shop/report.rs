//! A report that is streamed, since it is too large to collect.
use std::fmt::Write;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use reqscope::Guard;
use reqscope_sqlite::{SqliteConn, SqliteError};
use reqscope_tower::LeaseBody;

use crate::db::Tx;
use crate::error::AppError;

/// How many lines are in memory at a time.
const PAGE: u32 = 500;

/// `GET /report`: all order lines, as CSV.
///
/// A scope ends when its handler returns, but here the body still needs the transaction: all pages are read from one
/// snapshot. So it is detached from the scope, and the body owns it. It is released when the last page has been read,
/// as soon as the client hangs up, or when it stops reading for 30 s.
pub(crate) async fn lines(Tx(tx): Tx) -> Result<Response, AppError> {
    let lease = Guard::detach(tx.get().await?);
    // The state is the id of the last line that was read; a page begins after it.
    let body = LeaseBody::unfold(lease, 0, |mut lease, last| async move {
        Ok::<_, SqliteError>(match page(&mut lease, last).await? {
            Some(page) => (lease, page.last, Some(page.csv)),
            None => (lease, last, None), // the end: the lease is completed
        })
    });
    Ok(([(CONTENT_TYPE, "text/csv")], Body::new(body)).into_response())
}

/// Some lines of the report.
struct Page {
    csv: Bytes,
    /// The id of the last line.
    last: i64,
}

/// Reads the page that begins after the line `last`. Returns `None` at the end.
async fn page(conn: &mut SqliteConn, last: i64) -> Result<Option<Page>, SqliteError> {
    conn.call(move |sql| {
        let mut select = sql.prepare_cached(
            "SELECT id, order_id, product, quantity, price FROM order_lines WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let mut rows = select.query((last, PAGE))?;
        let (mut csv, mut last) = (String::new(), None);
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            let (order, product, quantity, price): (i64, i64, u16, u32) =
                (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            writeln!(csv, "{order},{product},{quantity},{price}").expect("a string takes everything");
        }
        Ok(last.map(|last| Page { csv: csv.into(), last }))
    })
    .await
}
