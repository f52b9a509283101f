//! Stacks of resources that must not be built.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Pool, ResourceExt, Shared};
use reqscope_mysql::{MySql, Transaction};
use reqscope_testkit::expect_panic;

/// A pool around transactions answered success without a COMMIT.
#[test]
fn transactions_cannot_be_pooled_or_shared() {
    for make in [Transaction::new, Transaction::read_only] {
        let transactions = || make(Arc::new(MySql::new("mysql://app@db.internal/shop").unwrap()));
        let messages = [
            expect_panic(|| Pool::new(transactions())),
            expect_panic(|| Pool::new(transactions().timeout(Duration::from_secs(1)))),
            expect_panic(|| Pool::new(Arc::new(transactions()).boxed())),
            expect_panic(|| Shared::new(transactions())),
        ];
        assert!(messages[0].contains("Put the pool inside: Transaction<Pool<MySql>>"), "{messages:?}");
        assert!(messages[3].contains("Transaction<Pool<MySql>>"), "{messages:?}");
    }
}
