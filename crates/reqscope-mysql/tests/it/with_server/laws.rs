use std::sync::Arc;

use reqscope::ResourceExt;
use reqscope_mysql::{MySql, Transaction};
use reqscope_testkit::laws;

use crate::with_server::support::{PATIENCE, shared};

#[tokio::test(flavor = "multi_thread")]
async fn connections_keep_the_laws() {
    let url = shared().await.url();
    laws(|_probe| MySql::new(&url).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pooled_connections_keep_the_laws() {
    let url = shared().await.url();
    laws(|_probe| MySql::pool_builder().build(MySql::new(&url).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_keep_the_laws() {
    let url = shared().await.url();
    laws(|_probe| Transaction::new(Arc::new(MySql::new(&url).unwrap()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_transactions_keep_the_laws() {
    let url = shared().await.url();
    laws(|_probe| Transaction::read_only(Arc::new(MySql::new(&url).unwrap()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_over_wrapped_connections_keep_the_laws() {
    let url = shared().await.url();
    laws(|_probe| Transaction::new(Arc::new(MySql::new(&url).unwrap().timeout(PATIENCE)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_over_a_pool_keep_the_laws() {
    let url = shared().await.url();
    laws(|_probe| Transaction::new(Arc::new(MySql::pool_builder().build(MySql::new(&url).unwrap())))).await;
}
