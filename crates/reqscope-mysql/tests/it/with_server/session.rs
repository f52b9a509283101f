//! What one user of a pooled connection leaves, the next does not find.

use reqscope::Lease;
use reqscope_mysql::mysql_async::prelude::Queryable;

use crate::with_server::support::pool;

#[tokio::test]
async fn a_variable_of_the_session_does_not_reach_the_next_user() {
    let pool = pool(1).await;
    let mut first = Lease::acquire(&pool).await.unwrap();
    let id = first.as_ref().id();
    first.query_drop("SET SESSION sql_mode = 'ANSI', @mine = 7").await.unwrap();
    Lease::complete(first).await.unwrap();

    let mut second = Lease::acquire(&pool).await.unwrap();
    assert_eq!(second.as_ref().id(), id, "the same connection");
    let left: Option<(String, Option<i64>)> = second.query_first("SELECT @@sql_mode, @mine").await.unwrap();
    let (mode, mine) = left.unwrap();
    assert!(!mode.contains("ANSI"), "{mode}");
    assert_eq!(mine, None);
}
