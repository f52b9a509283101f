use std::sync::Arc;

use reqscope::{Pool, ResourceExt};
use reqscope_sqlite::{Sqlite, Transaction};
use reqscope_testkit::laws;

use crate::support::{reading, sqlite, with_table, writing};

fn bare() -> Sqlite {
    with_table().build_temporary().unwrap()
}

laws!(connections_keep_the_laws, |_probe| bare());
laws!(transactions_that_write_keep_the_laws, |_probe| writing(&sqlite()));
laws!(transactions_that_read_keep_the_laws, |_probe| reading(&sqlite()));
laws!(transactions_over_wrapped_connections_keep_the_laws, |_probe| {
    Transaction::new(Arc::new(bare().timeout(crate::support::PATIENCE)))
});
laws!(pooled_connections_keep_the_laws, |_probe| Pool::new(bare()));
laws!(transactions_that_write_over_a_pool_keep_the_laws, |_probe| Transaction::new(Arc::new(Pool::new(bare()))));
laws!(transactions_that_read_over_a_pool_keep_the_laws, |_probe| {
    Transaction::read_only(Arc::new(Pool::new(bare())))
});
