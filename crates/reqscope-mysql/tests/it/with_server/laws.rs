//! The suite of laws, with operations that ask for the number of their user, and a census of the server's connections.

use std::sync::Arc;

use reqscope::{Pool, Reset, Resource, ResourceExt};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{Conn, Error};
use reqscope_mysql::{MySql, MySqlConn, ReadOnly, Transaction};
use reqscope_testkit::{Law, Laws, laws};
use tokio::sync::Mutex;

use crate::with_server::support::{PATIENCE, bare, shared};

/// A user of the shared server whose connections are those of one test.
struct Account {
    name: &'static str,
    url: String,
    /// Outside of the census, because it belongs to another user.
    eye: Mutex<Conn>,
}

impl Account {
    async fn new(name: &'static str) -> Account {
        let server = shared().await;
        server.query(&format!("CREATE USER {name}; GRANT ALL ON test.* TO {name}")).await.expect("a new user");
        let url = server.url().replace("root@", &format!("{name}@"));
        Account { name, url, eye: Mutex::new(bare(server).await) }
    }

    fn mysql(&self) -> MySql {
        MySql::new(&self.url).expect("the server's own URL")
    }

    /// Returns how many connections of this user the server has.
    async fn connections(&self) -> usize {
        let asked = "SELECT count(*) FROM information_schema.processlist WHERE user = ?";
        self.eye.lock().await.exec_first(asked, (self.name,)).await.expect("an answer").expect("a number")
    }

    fn laws<'a, R: Resource>(&'a self, make: impl Fn(MySql) -> R + 'a) -> Laws<'a, R> {
        laws(move |_probe| make(self.mysql())).with_census(async || self.connections().await)
    }
}

/// Asks for the number of the user, as text and as a prepared statement.
async fn ask(conn: &mut MySqlConn, user: u32) -> Result<u32, Error> {
    let text: Option<u32> = conn.query_first(format!("SELECT {user}")).await?;
    let prepared: Option<u32> = conn.exec_first("SELECT ?", (user,)).await?;
    Ok(if text == Some(user) { prepared.unwrap_or(0) } else { text.unwrap_or(0) })
}

/// Asks for what the user before has left in the session, and then for the user's own number.
async fn look(conn: &mut MySqlConn, user: u32) -> Result<u32, Error> {
    let left: Option<Option<u32>> = conn.query_first("SELECT @laws_user").await?;
    if let Some(Some(number)) = left {
        return Ok(number);
    }
    conn.query_drop(format!("SET @laws_user = {user}")).await?;
    ask(conn, user).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_keep_the_laws() {
    let account = Account::new("laws_bare").await;
    account.laws(|mysql| mysql).with_use(async |conn, user| ask(conn, user).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pooled_connections_keep_the_laws() {
    let account = Account::new("laws_pool").await;
    account.laws(Pool::new).with_use(async |conn, user| look(conn, user).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_in_a_pool_without_resets_keep_session_variables() {
    let account = Account::new("laws_pool_without_resets").await;
    let pool = |mysql| Pool::builder().reset(Reset::AfterDoubt).build(mysql);
    let suite = account.laws(pool).with_use(async |conn, user| look(conn, user).await);
    suite.known(Law::L14, "was answered with", "only `Reset::Always` resets a session for each user").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_keep_the_laws() {
    let account = Account::new("laws_tx").await;
    let suite = account.laws(|mysql| Transaction::new(Arc::new(mysql)));
    suite.with_use(async |tx, user| ask(tx, user).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_transactions_keep_the_laws() {
    let account = Account::new("laws_read_only_tx").await;
    let suite = account.laws(|mysql| ReadOnly::new(Arc::new(mysql)));
    suite.with_use(async |tx, user| ask(tx, user).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_over_wrapped_connections_keep_the_laws() {
    let account = Account::new("laws_wrapped_tx").await;
    let suite = account.laws(|mysql| Transaction::new(Arc::new(mysql.timeout(PATIENCE))));
    suite.with_use(async |tx, user| ask(tx, user).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_over_a_pool_keep_the_laws() {
    let account = Account::new("laws_pooled_tx").await;
    let suite = account.laws(|mysql| Transaction::new(Arc::new(Pool::new(mysql))));
    suite.with_use(async |tx, user| look(tx, user).await).await;
}
