//! What the tests have in common: one server for those that only use it.

use std::sync::Arc;
use std::time::Duration;

use reqscope::Pool;
use reqscope_mysql::MySql;
use reqscope_testkit::MariaDb;
use tokio::sync::OnceCell;

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The server of those tests that leave it as they find it; it ends with this process. Who stops it, fills it up or counts what
/// runs on it starts one of his own.
pub(crate) async fn shared() -> &'static MariaDb {
    static SERVER: OnceCell<MariaDb> = OnceCell::const_new();
    let started =
        || async { MariaDb::builder().option("max_connections", 500).start().await.expect("MariaDB starts") };
    SERVER.get_or_init(started).await
}

pub(crate) async fn mysql() -> MySql {
    MySql::new(&shared().await.url()).expect("the server's own URL")
}

pub(crate) async fn pool(size: usize) -> Arc<Pool<MySql>> {
    Arc::new(MySql::pool_builder().max_size(size).build(mysql().await))
}
