//! The session state of one user of a pooled connection does not reach the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Lease, Pool};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{Opts, OptsBuilder};
use reqscope_mysql::{MySql, MySqlBuilder, MySqlConn, MySqlError};

use crate::with_server::support::{bare, code, insert, pool, refusal, rows, shared, table};

type Pooled = Lease<Pool<MySql>>;

fn one(builder: MySqlBuilder) -> Arc<Pool<MySql>> {
    Arc::new(Pool::builder().max_size(1).build(builder.build()))
}

/// Returns the connection to the pool as completed, and checks it out again.
async fn next_user(first: Pooled, pool: &Arc<Pool<MySql>>) -> Pooled {
    let id = first.as_ref().id();
    Lease::complete(first).await.expect("it is returned");
    let next = Lease::acquire(pool).await.expect("a connection");
    assert_eq!(next.as_ref().id(), id, "the same connection");
    next
}

/// Runs a statement as one user, and returns the same connection as the next user.
async fn after(statement: &str, pool: &Arc<Pool<MySql>>) -> Pooled {
    let mut first = Lease::acquire(pool).await.expect("a connection");
    first.query_drop(statement).await.expect(statement);
    next_user(first, pool).await
}

/// Returns the session's database, with a query that is not suspected of changing it.
async fn database(conn: &mut MySqlConn) -> Option<String> {
    let asked = "SELECT db FROM information_schema.processlist WHERE id = CONNECTION_ID()";
    conn.query_first(asked).await.expect("an answer").expect("a row")
}

#[tokio::test]
async fn session_variable_does_not_reach_the_next_user() {
    let mut second = after("SET SESSION sql_mode = 'ANSI', @mine = 7", &pool(1).await).await;
    let left: Option<(String, Option<i64>)> = second.query_first("SELECT @@sql_mode, @mine").await.unwrap();
    let (mode, mine) = left.unwrap();
    assert!(!mode.contains("ANSI"), "{mode}");
    assert_eq!(mine, None);
}

#[tokio::test]
async fn begin_as_text_does_not_reach_the_next_user() {
    table("begun").await;
    let pool = pool(1).await;
    let mut second = after("BEGIN; INSERT INTO begun VALUES (1, 0)", &pool).await;
    let open: Option<u8> = second.query_first("SELECT @@in_transaction").await.unwrap();
    assert_eq!(open, Some(0));

    insert(&mut second, "begun", 2).await.unwrap();
    assert_eq!(rows("begun").await, 1, "only the row of the second user, committed at once");
}

#[tokio::test]
async fn autocommit_that_was_switched_off_is_on_again() {
    table("switched").await;
    let mut second = after("SET autocommit = 0; INSERT INTO switched VALUES (1, 0)", &pool(1).await).await;
    insert(&mut second, "switched", 2).await.unwrap();
    assert_eq!(rows("switched").await, 1);
}

#[tokio::test]
async fn temporary_table_does_not_reach_the_next_user() {
    let mut second = after("CREATE TEMPORARY TABLE mine (id INT)", &pool(1).await).await;
    let error = refusal(second.query_drop("SELECT * FROM mine").await);
    assert_eq!(code(&error), Some(1146), "{error:?}");
}

#[tokio::test]
async fn user_lock_is_not_held_for_the_next_user() {
    let second = after("DO GET_LOCK('reqscope mine', 0)", &pool(1).await).await;
    let holder: Option<Option<u64>> =
        bare(shared().await).await.query_first("SELECT IS_USED_LOCK('reqscope mine')").await.unwrap();
    assert_eq!(holder, Some(None));
    drop(second);
}

#[tokio::test]
async fn locked_tables_are_not_locked_for_the_next_user() {
    table("locked").await;
    let mut second = after("LOCK TABLES locked WRITE", &pool(1).await).await;
    let mut other = bare(shared().await).await;
    other.query_drop("SET SESSION lock_wait_timeout = 1; INSERT INTO locked VALUES (1, 0)").await.unwrap();
    let others: Option<u64> = second.query_first("SELECT count(*) FROM mysql.global_priv").await.unwrap();
    assert!(others.is_some(), "a table that was not locked can be read");
}

#[tokio::test]
async fn prepared_statement_does_not_reach_the_next_user() {
    let mut second = after("PREPARE mine FROM 'SELECT 7'", &pool(1).await).await;
    let error = refusal(second.query_drop("EXECUTE mine").await);
    assert_eq!(code(&error), Some(1243), "{error:?}");
}

/// A statement kept by the last user must not run as one of the next user's.
#[tokio::test]
async fn kept_statement_of_the_last_user_runs_no_other() {
    let pool = pool(1).await;
    let mut first = Lease::acquire(&pool).await.unwrap();
    let kept = first.prep("SELECT 7").await.unwrap();
    let mut second = next_user(first, &pool).await;
    let own = second.prep("SELECT 8").await.unwrap();
    let error = refusal(second.exec_first::<u64, _, _>(&kept, ()).await);
    assert_eq!(code(&error), Some(1243), "{error:?}");
    assert_eq!(second.exec_first(&own, ()).await.unwrap(), Some(8_u64));
    // The driver's cache of prepared texts is empty, too.
    assert_eq!(second.exec_first("SELECT 7", ()).await.unwrap(), Some(7_u64));
}

#[tokio::test]
async fn unread_rows_reach_no_other_operation_or_user() {
    let pool = pool(1).await;
    let mut first = Lease::acquire(&pool).await.unwrap();
    let mut left = first.query_iter("SELECT seq FROM seq_1_to_5000").await.unwrap();
    assert!(left.next().await.unwrap().is_some());
    drop(left);
    assert_eq!(first.query_first("SELECT 7").await.unwrap(), Some(7_u64), "the next operation");

    drop(first.query_iter("SELECT seq FROM seq_1_to_5000; SELECT 1; SELECT 2").await.unwrap());
    let mut second = next_user(first, &pool).await;
    assert_eq!(second.query_first("SELECT 8").await.unwrap(), Some(8_u64), "the next user");
}

/// The error is among what is left to read, and no answer to the reset.
#[tokio::test]
async fn unread_error_does_not_cost_the_connection() {
    let pool = pool(1).await;
    let mut first = Lease::acquire(&pool).await.unwrap();
    drop(first.query_iter("SELECT 1; INSERT INTO no_such_table VALUES (1)").await.unwrap());
    let mut second = next_user(first, &pool).await;
    assert_eq!(second.query_first("SELECT 8").await.unwrap(), Some(8_u64));

    // One that has a class is in another type of the driver.
    let refusal = "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1047, MESSAGE_TEXT = 'no cluster'";
    drop(second.query_iter(format!("SELECT 1; {refusal}")).await.unwrap());
    let mut third = next_user(second, &pool).await;
    assert_eq!(third.query_first("SELECT 9").await.unwrap(), Some(9_u64));
}

/// Changes the session's database to `mysql`, in every way that the driver has.
async fn change_database(way: usize, conn: &mut MySqlConn) -> Option<()> {
    let changed = match way {
        0 => conn.query_drop("USE mysql").await,
        1 => conn.query_drop("  uSe\tmysql").await,
        2 => conn.query_drop("USE`mysql`").await,
        3 => conn.query_drop("/*!USE mysql*/").await,
        4 => conn.query_drop("/* a comment */ USE mysql").await,
        5 => conn.query_drop("SELECT 1; USE mysql").await,
        6 => conn.query_drop("EXECUTE IMMEDIATE 'USE mysql'").await,
        7 => conn.query_iter("USE mysql").await.map(drop),
        8 => conn.query::<u8, _>("USE mysql").await.map(drop),
        9 => conn.query_first::<u8, _>("USE mysql").await.map(drop),
        10 => conn.query_map("USE mysql", |_: u8| ()).await.map(drop),
        11 => conn.query_fold("USE mysql", (), |(), _: u8| ()).await,
        12 => conn.query_stream::<u8, _>("SELECT 1; USE mysql").await.map(drop),
        13 => conn.exec_drop("USE mysql", ()).await,
        14 => conn.exec_iter("USE mysql", ()).await.map(drop),
        15 => conn.exec::<u8, _, _>("USE mysql", ()).await.map(drop),
        16 => conn.exec_first::<u8, _, _>("USE mysql", ()).await.map(drop),
        17 => conn.exec_map("USE mysql", (), |_: u8| ()).await.map(drop),
        18 => conn.exec_fold("USE mysql", (), (), |(), _: u8| ()).await,
        19 => conn.exec_batch("USE mysql", [(), ()]).await,
        20 => {
            let statement = conn.prep("USE mysql").await.expect("it can be prepared");
            conn.exec_drop(statement, ()).await
        }
        21 => conn.exec_stream::<u8, _, _>("USE mysql", ()).await.map(drop),
        _ => return None,
    };
    changed.expect("it works");
    Some(())
}

/// Checks that the next user is in the first database, however the last one left it.
async fn database_is_always_restored(pool: &Arc<Pool<MySql>>, first: Option<&str>) {
    let mut way = 0;
    let mut conn = Lease::acquire(pool).await.expect("a connection");
    assert_eq!(database(&mut conn).await.as_deref(), first);
    while change_database(way, &mut conn).await.is_some() {
        assert_eq!(database(&mut conn).await.as_deref(), Some("mysql"), "way {way} changes it");
        conn = next_user(conn, pool).await;
        assert_eq!(database(&mut conn).await.as_deref(), first, "after way {way}");
        way += 1;
    }
}

#[tokio::test]
async fn next_user_is_in_the_database_of_the_url() {
    database_is_always_restored(&pool(1).await, Some("test")).await;
}

#[tokio::test]
async fn next_user_is_in_no_database_if_the_url_names_none() {
    let url = format!("mysql://root@{}", shared().await.address());
    database_is_always_restored(&one(MySql::builder(&url).unwrap()), None).await;
}

#[tokio::test]
async fn database_with_a_backtick_in_its_name_is_restored() {
    bare(shared().await).await.query_drop("CREATE OR REPLACE DATABASE `odd``name`").await.unwrap();
    let opts = Opts::from_url(&shared().await.url()).unwrap();
    let pool = one(MySqlBuilder::from_opts(OptsBuilder::from_opts(opts).db_name(Some("odd`name"))));
    let mut second = after("USE mysql", &pool).await;
    assert_eq!(database(&mut second).await.as_deref(), Some("odd`name"));
}

#[tokio::test]
async fn recreated_database_is_restored_for_the_next_user() {
    bare(shared().await).await.query_drop("CREATE OR REPLACE DATABASE anew").await.unwrap();
    let pool = one(MySql::builder(&format!("mysql://root@{}/anew", shared().await.address())).unwrap());
    for anew in ["DROP DATABASE anew; CREATE DATABASE anew", "CREATE OR REPLACE SCHEMA anew"] {
        let mut second = after(anew, &pool).await;
        assert_eq!(database(&mut second).await.as_deref(), Some("anew"), "{anew}");
    }
}

/// Returns the variables of the session, except those that differ in every session.
async fn variables(conn: &mut MySqlConn) -> BTreeMap<String, String> {
    let all: Vec<(String, String)> = conn.query("SHOW SESSION VARIABLES").await.expect("an answer");
    let own =
        ["timestamp", "pseudo_thread_id", "rand_seed1", "rand_seed2", "last_gtid", "error_count", "warning_count"];
    all.into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect()
}

#[tokio::test]
async fn next_user_has_the_variables_of_a_new_connection() {
    let named = shared().await.url();
    let unnamed = format!("mysql://root@{}", shared().await.address());
    let dirt = "SET NAMES latin1, time_zone = '+05:00', sql_mode = '', foreign_key_checks = 0, unique_checks = 0, \
                sql_log_bin = 0, group_concat_max_len = 4, innodb_lock_wait_timeout = 1, tx_isolation = 'SERIALIZABLE', \
                tx_read_only = 1, insert_id = 77, last_insert_id = 8, sql_safe_updates = 1, sql_select_limit = 1, \
                lc_time_names = 'de_DE'";
    // Three code paths: the reset, the reset after a USE, and the change of the user.
    for (url, moving) in [(&named, ""), (&named, "; USE mysql"), (&unnamed, "; USE mysql")] {
        let builder =
            || MySql::builder(url).unwrap().setup("SET wait_timeout = 99").charset("utf8mb4 COLLATE utf8mb4_bin");
        let fresh = one(builder());
        let expected = variables(&mut Lease::acquire(&fresh).await.unwrap()).await;
        let mut second = after(&format!("{dirt}{moving}"), &one(builder())).await;
        assert_eq!(variables(&mut second).await, expected, "{url} {moving}");
    }
}

#[tokio::test]
async fn setup_applies_to_each_user() {
    let builder = MySql::builder(&shared().await.url())
        .unwrap()
        .setup("SET time_zone = '+03:00', @steps = 'one'")
        .setup("SET @steps = CONCAT(@steps, ' two')")
        .charset("latin1");
    let pool = one(builder);
    let mut user = Lease::acquire(&pool).await.unwrap();
    for turn in 1..=3 {
        let asked = "SELECT @@time_zone, @steps, @@character_set_client";
        let set: Option<(String, String, String)> = user.query_first(asked).await.unwrap();
        let (zone, steps, charset) = set.unwrap();
        assert_eq!((&*zone, &*steps, &*charset), ("+03:00", "one two", "latin1"), "user {turn}");
        user.query_drop("SET time_zone = '+09:00', NAMES utf8mb4, @steps = 'three'").await.unwrap();
        user = next_user(user, &pool).await;
    }
}

#[tokio::test]
async fn drivers_setup_runs_before_ours_and_its_init_once() {
    let opts = OptsBuilder::from_opts(Opts::from_url(&shared().await.url()).unwrap())
        .init(vec!["SET @init = 1"])
        .setup(vec!["SET @order = 'theirs'"]);
    let pool = one(MySqlBuilder::from_opts(opts).setup("SET @order = CONCAT(@order, ', ours')"));
    let mut user = Lease::acquire(&pool).await.unwrap();
    for init in [Some(1_u8), None] {
        let set: Option<(Option<u8>, String)> = user.query_first("SELECT @init, @order").await.unwrap();
        assert_eq!(set, Some((init, "theirs, ours".to_owned())));
        user = next_user(user, &pool).await;
    }
}

#[tokio::test]
async fn max_statement_time_costs_an_error_but_no_connection() {
    let pool = one(MySql::builder(&shared().await.url()).unwrap().max_statement_time(Duration::from_millis(500)));
    let mut user = Lease::acquire(&pool).await.unwrap();
    for _turn in 1..=2 {
        let error = refusal(user.query_drop("SELECT SLEEP(10)").await);
        assert_eq!(code(&error), Some(1969), "{error:?}");
        assert_eq!(user.query_first("SELECT 7").await.unwrap(), Some(7_u64));
        user = next_user(user, &pool).await;
    }
}

/// The fault: the statements were joined, and the comment hid the limit.
#[tokio::test]
async fn setup_statement_that_ends_in_a_comment_hides_no_other() {
    let builder = MySql::builder(&shared().await.url()).unwrap().setup("SET @zone = 1 -- of the shop");
    let pool = one(builder.max_statement_time(Duration::from_secs(7)));
    let mut user = Lease::acquire(&pool).await.unwrap();
    for turn in 1..=2 {
        let set = user.query_first("SELECT @zone, @@max_statement_time").await.unwrap();
        assert_eq!(set, Some((1_u8, 7_f64)), "user {turn}");
        user = next_user(user, &pool).await;
    }
}

#[tokio::test]
async fn operation_timeout_of_one_user_ends_with_its_use() {
    let pool = pool(1).await;
    let mut first = Lease::acquire(&pool).await.unwrap();
    first.set_operation_timeout(Duration::from_millis(20));
    let mut second = next_user(first, &pool).await;
    second.query_drop("DO SLEEP(0.1)").await.unwrap();

    second.set_operation_timeout(Duration::from_millis(20));
    let error = refusal(second.query_drop("DO SLEEP(10)").await);
    assert!(matches!(error, MySqlError::TimedOut { .. }), "{error:?}");
}

/// Changes the session's role by each kind of statement, including procedures.
async fn take_the_role(way: usize, conn: &mut MySqlConn) -> Option<()> {
    let taken = match way {
        0 => conn.query_drop("SET ROLE boss").await,
        1 => conn.exec_drop("SET ROLE boss", ()).await,
        2 => conn.query_drop("CALL become_boss(1)").await,
        3 => conn.exec_drop("CALL become_boss(?)", (1,)).await,
        4 => {
            let failed = conn.exec_drop("CALL become_boss_and_fail(?)", (1,)).await;
            assert_eq!(code(&refusal(failed)), Some(1644));
            Ok(())
        }
        5 => conn.exec_drop("CALL become_boss_among_rows(?)", (1,)).await,
        6 => conn.exec_iter("CALL become_boss_among_rows(?)", (1,)).await.map(drop),
        7 => conn.exec_stream::<u8, _, _>("CALL become_boss_among_rows(?)", (1,)).await.map(drop),
        8 => conn.exec_batch("CALL become_boss_among_rows(1)", [(), ()]).await,
        _ => return None,
    };
    taken.unwrap_or_else(|error| panic!("way {way}: {error}"));
    Some(())
}

#[tokio::test]
async fn role_does_not_reach_the_next_user() {
    let server = shared().await;
    let granted = "CREATE OR REPLACE ROLE boss; CREATE OR REPLACE USER actor; GRANT ALL ON *.* TO actor; \
                   GRANT boss TO actor; CREATE OR REPLACE PROCEDURE become_boss(x INT) SQL SECURITY INVOKER SET ROLE boss; \
                   CREATE OR REPLACE PROCEDURE become_boss_and_fail(x INT) SQL SECURITY INVOKER \
                   BEGIN SET ROLE boss; SIGNAL SQLSTATE '45000'; END; \
                   CREATE OR REPLACE PROCEDURE become_boss_among_rows(x INT) SQL SECURITY INVOKER \
                   BEGIN SELECT 1; SET ROLE boss; SELECT 2; END";
    bare(server).await.query_drop(granted).await.unwrap();
    let pool = one(MySql::builder(&server.url().replace("root", "actor")).unwrap());
    let role = "SELECT CURRENT_ROLE()";

    let mut conn = Lease::acquire(&pool).await.unwrap();
    let mut way = 0;
    while take_the_role(way, &mut conn).await.is_some() {
        assert_eq!(conn.query_first(role).await.unwrap(), Some(Some("boss".to_owned())), "way {way}");
        let id = conn.as_ref().id();
        Lease::complete(conn).await.unwrap();
        conn = Lease::acquire(&pool).await.unwrap();
        assert_eq!(conn.query_first(role).await.unwrap(), Some(None::<String>), "after way {way}");
        assert_ne!(conn.as_ref().id(), id, "no reset undoes it, so it is another connection");
        way += 1;
    }
}
