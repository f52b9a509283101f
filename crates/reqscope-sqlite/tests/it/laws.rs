use std::sync::Arc;

use reqscope::{Pool, ResourceExt};
use reqscope_sqlite::{Sqlite, Transaction};
use reqscope_testkit::laws;

use crate::support::{reading, sqlite, with_table, writing};

fn bare() -> Sqlite {
    with_table().build_temporary().unwrap()
}

laws!(connection_keeps_the_laws, |_probe| bare());
laws!(write_transaction_keeps_the_laws, |_probe| writing(&sqlite()));
laws!(read_transaction_keeps_the_laws, |_probe| reading(&sqlite()));
laws!(transaction_over_wrapped_connection_keeps_the_laws, |_probe| {
    Transaction::new(Arc::new(bare().timeout(crate::support::LIMIT)))
});
laws!(pooled_connection_keeps_the_laws, |_probe| Pool::new(bare()));
laws!(pooled_write_transaction_keeps_the_laws, |_probe| Transaction::new(Arc::new(Pool::new(bare()))));
laws!(pooled_read_transaction_keeps_the_laws, |_probe| { Transaction::read_only(Arc::new(Pool::new(bare()))) });
