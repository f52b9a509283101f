//! No text of this crate contains the password, whatever goes wrong.

use std::error::Error as StdError;
use std::fmt::Debug;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqscope::observer::{Abandoned, Subject};
use reqscope::{Error, Exit, Lease, Observer, Pool, Resource, Scopes};
use reqscope_mysql::mysql_async::OptsBuilder;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlBuilder, MySqlError, Transaction};
use reqscope_testkit::MariaDb;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::with_server::support::PATIENCE;

const SECRET: &str = "s3cr3t";

/// Returns a server with a user `keeper` with this password, and a user `other` with another one.
async fn server() -> &'static MariaDb {
    static SERVER: OnceCell<MariaDb> = OnceCell::const_new();
    let started = || async {
        let server = MariaDb::start().await.unwrap();
        let users = "CREATE USER keeper IDENTIFIED BY 's3cr3t'; GRANT ALL ON test.* TO keeper; \
                     CREATE USER other IDENTIFIED BY 'another'";
        server.query(users).await.unwrap();
        server
    };
    SERVER.get_or_init(started).await
}

async fn url() -> String {
    format!("mysql://keeper:{SECRET}@{}/test", server().await.address())
}

/// Checks that a text does not contain the password.
fn assert_silent(text: &str) {
    assert!(!text.contains(SECRET), "the password is in: {text}");
}

fn assert_debug_is_silent(what: &impl Debug) {
    assert_silent(&format!("{what:?}"));
    assert_silent(&format!("{what:#?}"));
}

/// Prints the whole chain of errors, in all formats.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        text.push_str(&format!("{error}\n{error:?}\n{error:#?}\n"));
        next = error.source();
    }
    text
}

/// Collects all events that are reported to the observer.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<String>>);

impl Listener {
    fn record(&self, what: impl Debug) {
        self.0.lock().unwrap().push_str(&format!("{what:?}\n"));
    }

    fn recorded(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Listener {
    fn acquired(&self, of: Subject, waited: Duration) {
        self.record((of, waited));
    }

    fn acquire_failed(&self, of: Subject, error: &(dyn StdError + 'static)) {
        self.record(("acquire_failed", of, chain(error)));
    }

    fn released(&self, of: Subject, exit: Exit) {
        self.record((of, exit));
    }

    fn release_failed(&self, of: Subject, exit: Exit, error: &(dyn StdError + 'static)) {
        self.record(("release_failed", of, exit, chain(error)));
    }

    fn abandoned(&self, of: Subject, exit: Exit, why: Abandoned) {
        self.record((of, exit, why));
    }
}

#[tokio::test]
async fn debug_never_shows_the_password() {
    let url = url().await;
    assert_debug_is_silent(&MySql::builder(&url).unwrap());
    let opts = OptsBuilder::default().user(Some("keeper")).pass(Some(SECRET)).db_name(Some("test"));
    assert_debug_is_silent(&MySqlBuilder::from_opts(opts));
    assert_debug_is_silent(&MySql::new(&url).unwrap());
    let pool = Arc::new(Pool::builder().name("shop").build(MySql::new(&url).unwrap()));
    let transactions = Arc::new(Transaction::new(Arc::clone(&pool)));

    let mut conn = Lease::acquire(&pool).await.unwrap();
    conn.query_drop("SELECT 1").await.unwrap();
    assert_debug_is_silent(&conn);
    assert_debug_is_silent(conn.as_ref());
    let mut tx = Lease::acquire(&transactions).await.unwrap();
    assert_debug_is_silent(&tx);
    assert_debug_is_silent(&*tx);
    assert_debug_is_silent(&tx.savepoint().await.unwrap());
    assert_debug_is_silent(&transactions);
    assert_debug_is_silent(&pool);
    assert_debug_is_silent(&pool.status());
    assert_debug_is_silent(&pool.holders());
    let (scopes, lazy) = (Scopes::new(), Arc::clone(&transactions));
    let scope = scopes.open();
    assert_debug_is_silent(&scope.lazy(&lazy).get().await.unwrap());
}

#[tokio::test]
async fn error_of_a_failed_connect_never_shows_the_password() {
    let address = server().await.address();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let twice = OptsBuilder::default()
        .ip_or_hostname("db.example")
        .tcp_port(closed.port())
        .resolved_ips(Some([Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 2).into()]))
        .user(Some("keeper"))
        .pass(Some(SECRET));
    let builders = [
        ("a wrong password", MySql::builder(&format!("mysql://other:{SECRET}@{address}/test")).unwrap()),
        ("an unknown database", MySql::builder(&format!("mysql://keeper:{SECRET}@{address}/nothing")).unwrap()),
        ("a closed port", MySql::builder(&format!("mysql://keeper:{SECRET}@{closed}/test")).unwrap()),
        (
            "a silent server",
            MySql::builder(&format!("mysql://keeper:{SECRET}@{}/test", silent.local_addr().unwrap())).unwrap(),
        ),
        ("an unknown name", MySql::builder(&format!("mysql://keeper:{SECRET}@nowhere.invalid/test")).unwrap()),
        ("two closed ports", MySqlBuilder::from_opts(twice)),
    ];
    for (what, builder) in builders {
        let builder = builder.connect_timeout(Duration::from_millis(500));
        let bare = builder.clone().build();
        let bare: Error<MySqlError> = timeout(PATIENCE, bare.acquire()).await.unwrap().unwrap_err();
        let listener = Listener::default();
        let pool = Arc::new(Pool::builder().observer(listener.clone()).build(builder.build()));
        let pooled = Lease::acquire(&pool).await.unwrap_err();
        let transactions = Arc::new(Transaction::new(Arc::clone(&pool)));
        let begun = Lease::acquire(&transactions).await.unwrap_err();
        for error in [bare, pooled, begun] {
            assert!(error.cause().is_some(), "{what}: {error:?}");
            assert_silent(&chain(&error));
            assert_silent(&error.shortage().map(|shortage| format!("{shortage} {shortage:?}")).unwrap_or_default());
        }
        let recorded = listener.recorded();
        assert!(recorded.contains("acquire_failed"), "{what}: {recorded}");
        assert_silent(&recorded);
        assert_debug_is_silent(&pool.status());
    }
}

#[tokio::test]
async fn error_after_the_server_was_killed_never_shows_the_password() {
    let server = MariaDb::start().await.unwrap();
    server.query("CREATE USER keeper IDENTIFIED BY 's3cr3t'; GRANT ALL ON test.* TO keeper").await.unwrap();
    let url = format!("mysql://keeper:{SECRET}@{}/test", server.address());
    let listener = Listener::default();
    let pool = Arc::new(Pool::builder().observer(listener.clone()).build(MySql::new(&url).unwrap()));
    let transactions = Arc::new(Transaction::new(Arc::clone(&pool)));
    let mut tx = Lease::acquire(&transactions).await.unwrap();
    let mut conn = Lease::acquire(&pool).await.unwrap();
    server.kill().await.unwrap();

    let error = MySqlError::from(conn.query_drop("SELECT 1").await.unwrap_err());
    assert_silent(&chain(&error));
    let error = MySqlError::from(tx.query_drop("SELECT 1").await.unwrap_err());
    assert_silent(&chain(&error));
    assert_debug_is_silent(&conn);
    let error = Lease::complete(tx).await.unwrap_err();
    assert_silent(&chain(&error));
    drop(Lease::fail(conn).await);
    let bare = MySql::new(&url).unwrap();
    drop(bare.acquire().await.map_err(|error| assert_silent(&chain(&error))));
    assert!(pool.close(Duration::from_secs(5)).await.is_clean());
    let recorded = listener.recorded();
    assert!(recorded.contains("release_failed"), "the statements could not be stopped: {recorded}");
    assert_silent(&recorded);
}

#[tokio::test]
async fn malformed_url_is_never_repeated() {
    // An unencoded password is split at these characters and may end up in any part of the URL.
    let mut urls: Vec<String> = Vec::new();
    for mark in ["/", "?", "#", "@", ":", "%", "[", "]", "\\", " ", "&", "=", ";", "\n"] {
        for password in [format!("{SECRET}{mark}"), format!("{mark}{SECRET}"), format!("12{mark}{SECRET}{mark}34")] {
            for rest in ["127.0.0.1:1/test", "127.0.0.1:99999/test", "127.0.0.1:1", "127.0.0.1:1/test?pool_min=x"] {
                urls.push(format!("mysql://keeper:{password}@{rest}"));
            }
        }
    }
    urls.extend(
        [
            "",
            "s3cr3t",
            "keeper:s3cr3t@127.0.0.1/test",
            "postgres://keeper:s3cr3t@127.0.0.1/test",
            "s3cr3t://keeper@127.0.0.1/test",
            "mysql:keeper:s3cr3t@127.0.0.1/test",
            "mysql://keeper:s3cr3t@",
            "mysql://keeper:s3cr3t@/test",
            "mysql://keeper@127.0.0.1:s3cr3t/test",
            "mysql://keeper@127.0.0.1/test?s3cr3t",
            "mysql://keeper@127.0.0.1/test?s3cr3t=1",
            "mysql://keeper@127.0.0.1/test?password=s3cr3t",
            "mysql://keeper@127.0.0.1/test?pool_max=s3cr3t",
            "mysql://keeper@127.0.0.1/test?prefer_socket=s3cr3t",
            "mysql://keeper@127.0.0.1/test?tcp_keepalive=s3cr3t",
            "mysql://keeper:s3cr3t@127.0.0.1/test?pool_min=9&pool_max=1",
            "mysql://keeper:s3cr3t@127.0.0.1/test?require_ssl=maybe",
        ]
        .map(String::from),
    );
    let (mut refused, mut taken) = (0, 0);
    for url in urls {
        match MySql::builder(&url) {
            Err(error) => {
                assert!(matches!(error, MySqlError::Url(_)) && error.is_permanent(), "{error:?}");
                assert_silent(&chain(&error));
                refused += 1;
            }
            Ok(builder) => {
                assert_debug_is_silent(&builder);
                let mysql = builder.connect_timeout(Duration::from_millis(100)).build();
                assert_debug_is_silent(&mysql);
                let error = mysql.acquire().await.unwrap_err();
                assert_silent(&chain(&error));
                taken += 1;
            }
        }
    }
    assert!(refused > 30 && taken > 30, "both cases occur: {refused} refused, {taken} accepted");
}
