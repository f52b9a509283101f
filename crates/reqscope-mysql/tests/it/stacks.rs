//! Stacks of resources that must not be built.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Pool, ResourceExt, Shared};
use reqscope_mysql::{MySql, ReadOnly, Transaction};
use reqscope_testkit::expect_panic;

/// A pool around transactions answered success without a COMMIT.
#[test]
fn transactions_cannot_be_pooled_or_shared() {
    let connections = || Arc::new(MySql::new("mysql://app@db.internal/shop").unwrap());
    let messages = [
        expect_panic(|| Pool::new(Transaction::new(connections()))),
        expect_panic(|| Pool::new(Transaction::new(connections()).timeout(Duration::from_secs(1)))),
        expect_panic(|| Pool::new(Arc::new(Transaction::new(connections())).boxed())),
        expect_panic(|| Shared::new(Transaction::new(connections()))),
        expect_panic(|| Pool::new(ReadOnly::new(connections()))),
    ];
    assert!(messages[0].contains("Put the pool inside: Transaction<Pool<MySql>>"), "{messages:?}");
    assert!(messages[3].contains("Transaction<Pool<MySql>>"), "{messages:?}");
    assert!(messages[4].contains("Put the pool inside: ReadOnly<Pool<MySql>>"), "{messages:?}");
}
