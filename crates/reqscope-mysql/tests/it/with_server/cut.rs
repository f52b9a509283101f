//! Operations that are cut: the connection notices it, the statement is stopped on the server, and no other query gets
//! the answer.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use reqscope::observer::Subject;
use reqscope::{Exit, Health, Lease, Observer, Pool, Resource, Scopes};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlConn, MySqlError};
use reqscope_testkit::{MariaDb, cancel_at};

use crate::with_server::operations::{OTHERS, STATEMENTS};
use crate::with_server::support::{
    PATIENCE, bare, cut_at_work, doing, mysql, next_user_is_served, pool, refusal, shared, table, until_gone,
};

/// Checks that the connection refuses every operation.
async fn refuses_everything(conn: &mut MySqlConn) {
    for (name, call) in STATEMENTS.into_iter().chain(OTHERS) {
        let error = refusal(call(conn, "SELECT 7").await);
        assert!(matches!(error, MySqlError::InDoubt), "{name}: {error:?}");
    }
}

/// Cuts the operation at its first poll, its second one, and so on with growing steps, each time on a new connection,
/// until it completes before the cut.
async fn cut_at_each_poll(what: &str, pool: &Arc<Pool<MySql>>, operation: impl AsyncFn(&mut MySqlConn)) {
    let mut polls = 0;
    loop {
        let mut lease = Lease::acquire(pool).await.expect("a connection");
        let id = lease.as_ref().id();
        if cancel_at(polls, operation(&mut lease)).await.is_some() {
            break;
        }
        if polls == 0 {
            let answer: Option<u64> = lease.query_first("SELECT 7").await.expect("nothing was sent");
            assert_eq!(answer, Some(7));
        } else {
            refuses_everything(&mut lease).await;
        }
        // The user reports success.
        drop(Lease::complete(lease));
        let next = next_user_is_served(pool).await;
        assert_eq!(next == id, polls == 0, "{what}, cut at poll {polls}");
        polls += 1 + polls / 3;
    }
    assert!(polls > 1, "{what} was never cut");
    next_user_is_served(pool).await;
}

/// For every kind of call. The server must have stopped the statement when the next caller gets the slot.
#[tokio::test]
async fn cut_statement_stops_on_the_server_before_its_slot_is_free() {
    let mut eye = bare(shared().await).await;
    let pool = pool(1).await;
    for (name, call) in STATEMENTS {
        let mut lease = Lease::acquire(&pool).await.unwrap();
        let id = lease.as_ref().id();
        cut_at_work(&mut eye, id, "SLEEP(10)", call(&mut lease, "DO SLEEP(10)")).await;
        assert_eq!(Resource::probe(&*pool, &lease), Health::Dead, "{name}");
        refuses_everything(&mut lease).await;
        drop(Lease::complete(lease));

        let next = Lease::acquire(&pool).await.unwrap();
        assert_eq!(doing(&mut eye, id).await, None, "{name} has ended on the server");
        assert_ne!(next.as_ref().id(), id, "{name}");
        drop(next);
        next_user_is_served(&pool).await;
    }
}

/// Cut at any poll, the answer of a small query is never returned to the next query.
#[tokio::test]
async fn small_query_cut_at_any_poll_never_answers_the_next() {
    let pool = pool(1).await;
    for (name, call) in STATEMENTS.into_iter().chain(OTHERS) {
        cut_at_each_poll(name, &pool, async |conn| {
            // Some work for the server, so that the answer is not ready at the first poll.
            call(conn, "DO SLEEP(0.001)").await.expect("it works");
        })
        .await;
    }
}

#[tokio::test]
async fn large_answer_cut_at_any_poll_never_reaches_the_next_query() {
    // More than two packets in one row.
    let url = format!("{}?max_allowed_packet=67108864", shared().await.url());
    let pool = Arc::new(Pool::builder().max_size(1).build(MySql::new(&url).unwrap()));
    let huge = "SELECT REPEAT('x', 9000000), REPEAT('y', 9000000)";
    let large = "SELECT REPEAT('x', 1000) FROM seq_1_to_300";
    for text in [huge, large] {
        cut_at_each_poll("large text", &pool, async |conn| conn.query_drop(text).await.expect("it works")).await;
        cut_at_each_poll("large prepared", &pool, async |conn| conn.exec_drop(text, ()).await.expect("it works"))
            .await;
    }
}

#[tokio::test]
async fn large_query_cut_at_any_poll_never_answers_the_next() {
    table("cut_batches").await;
    let pool = pool(1).await;
    let text = format!("DO LENGTH('{}')", "x".repeat(3 << 20));
    cut_at_each_poll("a large text", &pool, async |conn| conn.query_drop(&text).await.expect("it works")).await;
    let parameter = "x".repeat(3 << 20);
    cut_at_each_poll("a large parameter", &pool, async |conn| {
        conn.exec_drop("DO LENGTH(?)", (&parameter,)).await.expect("it works");
    })
    .await;
    cut_at_each_poll("a batch", &pool, async |conn| {
        let rows = (0..40).map(|n| (n % 7,));
        conn.exec_batch("REPLACE INTO cut_batches VALUES (?, 1)", rows).await.expect("it works");
    })
    .await;
    cut_at_each_poll("two statements", &pool, async |conn| {
        conn.query_drop("SELECT 1; SELECT 2; DO SLEEP(0.001)").await.expect("it works");
    })
    .await;
}

/// Cut at any poll while the caller reads rows itself, the connection either drains the rest before the next query or
/// refuses it; the rest is never returned to the next query.
#[tokio::test]
async fn cut_query_iter_is_drained_or_in_doubt_but_never_wrong() {
    let pool = pool(1).await;
    let text = "SELECT REPEAT('x', 200) FROM seq_1_to_200; SELECT seq FROM seq_1_to_3; SELECT SLEEP(0.001); SELECT 4";
    let (mut polls, mut right, mut refused) = (0, 0, 0);
    loop {
        let mut lease = Lease::acquire(&pool).await.unwrap();
        let read = async {
            let mut sets = lease.query_iter(text).await?;
            while !sets.is_empty() {
                sets.for_each(drop).await?;
            }
            Ok::<_, MySqlError>(())
        };
        let is_over = cancel_at(polls, read).await.is_some();
        match lease.query_first::<u64, _>("SELECT 7").await.map_err(MySqlError::from) {
            Ok(answer) => {
                assert_eq!(answer, Some(7), "cut at poll {polls}");
                right += 1;
            }
            Err(MySqlError::InDoubt) => refused += 1,
            Err(error) => panic!("cut at poll {polls}: {error:?}"),
        }
        drop(Lease::complete(lease));
        next_user_is_served(&pool).await;
        if is_over {
            break;
        }
        polls += 1;
    }
    assert!(refused > 0 && right > 1, "{refused} refused, {right} right of {polls}");
}

/// A stream that is cut while it waits for a row costs no connection: the next operation reads the rest first.
#[tokio::test]
async fn stream_cut_while_it_waits_for_a_row_is_drained() {
    let mut eye = bare(shared().await).await;
    let pool = pool(1).await;
    let mut lease = Lease::acquire(&pool).await.unwrap();
    let id = lease.as_ref().id();
    // Rows larger than the server's buffer, so that the first arrives before the second is computed.
    let text = "SELECT REPEAT('x', 40000), IF(seq = 3, SLEEP(2), 0) FROM seq_1_to_3";
    let mut stream = lease.query_stream::<(String, u8), _>(text).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    let rest = async { while stream.next().await.is_some() {} };
    cut_at_work(&mut eye, id, "SLEEP(2)", rest).await;
    drop(stream);
    assert_eq!(pool.probe(&lease), Health::Dirty, "the rows have to be read first");
    assert_eq!(lease.query_first("SELECT 7").await.unwrap(), Some(7_u64));
    assert_eq!(pool.probe(&lease), Health::Ready);
    Lease::complete(lease).await.unwrap();
    assert_eq!(next_user_is_served(&pool).await, id, "the connection is kept");
}

#[tokio::test]
async fn stream_cut_between_two_result_sets_is_in_doubt() {
    let mut eye = bare(shared().await).await;
    let pool = pool(1).await;
    let mut lease = Lease::acquire(&pool).await.unwrap();
    let id = lease.as_ref().id();
    let mut sets = lease.query_iter("SELECT REPEAT('x', 40000); SELECT SLEEP(10)").await.unwrap();
    assert!(sets.next().await.unwrap().is_some());
    cut_at_work(&mut eye, id, "SLEEP(10)", sets.next()).await;
    drop(sets);
    refuses_everything(&mut lease).await;
    drop(Lease::complete(lease));
    assert_ne!(next_user_is_served(&pool).await, id);
    assert_eq!(doing(&mut eye, id).await, None);
}

/// Rows that cannot be drained within the validate timeout cost the connection, and the server stops their statement.
#[tokio::test]
async fn endless_rows_cost_the_connection_and_are_stopped() {
    let mut eye = bare(shared().await).await;
    let builder = Pool::builder().max_size(1).validate_timeout(Duration::from_millis(50));
    let pool = Arc::new(builder.build(mysql().await));
    let mut lease = Lease::acquire(&pool).await.unwrap();
    let id = lease.as_ref().id();
    let text = "SELECT REPEAT('x', 40000), IF(seq = 2, SLEEP(60), 0) FROM seq_1_to_2";
    let mut rows = lease.query_iter(text).await.unwrap();
    assert!(rows.next().await.unwrap().is_some());
    drop(rows);
    Lease::complete(lease).await.unwrap();
    assert_ne!(next_user_is_served(&pool).await, id);
    assert_eq!(doing(&mut eye, id).await, None);

    // Without a pool, no next user would have to read them.
    let mysql = Arc::new(mysql().await);
    let mut lease = Lease::acquire(&mysql).await.unwrap();
    let id = lease.id();
    drop(lease.query_iter(text).await.unwrap());
    Lease::complete(lease).await.unwrap();
    assert_eq!(doing(&mut eye, id).await, None);
}

#[tokio::test]
async fn operation_that_times_out_counts_as_cut() {
    let mut eye = bare(shared().await).await;
    let pool = pool(1).await;
    for (name, call) in STATEMENTS {
        let mut lease = Lease::acquire(&pool).await.unwrap();
        let id = lease.as_ref().id();
        lease.set_operation_timeout(Duration::from_millis(20));
        let error = refusal(call(&mut lease, "DO SLEEP(10)").await);
        assert!(matches!(error, MySqlError::TimedOut { .. }), "{name}: {error:?}");
        refuses_everything(&mut lease).await;
        drop(Lease::complete(lease));
        assert_ne!(next_user_is_served(&pool).await, id, "{name}");
        assert_eq!(doing(&mut eye, id).await, None, "{name} has gone from the server");
    }
}

#[tokio::test]
async fn cut_validation_proves_nothing() {
    let mysql = mysql().await;
    let mut polls = 0;
    loop {
        let mut conn = mysql.acquire().await.unwrap();
        let validation = cancel_at(polls, mysql.validate(&mut conn)).await;
        let expected = if polls == 0 || validation.is_some() { Health::Ready } else { Health::Dead };
        assert_eq!(mysql.probe(&conn), expected, "cut at poll {polls}");
        mysql.release(conn, Exit::Cancelled).await.unwrap();
        if validation.is_some() {
            break;
        }
        polls += 1;
    }
    assert!(polls > 1, "it was never cut");
}

#[tokio::test]
async fn connection_in_doubt_cannot_be_validated() {
    let mut eye = bare(shared().await).await;
    let mysql = mysql().await;
    let mut conn = mysql.acquire().await.unwrap();
    let id = conn.id();
    cut_at_work(&mut eye, id, "SLEEP(10)", conn.query_drop("DO SLEEP(10)")).await;
    let error = mysql.validate(&mut conn).await.unwrap_err();
    assert!(matches!(error.cause(), Some(MySqlError::InDoubt)), "{error:?}");
    mysql.release(conn, Exit::Completed).await.unwrap();
    assert_eq!(doing(&mut eye, id).await, None);
}

#[tokio::test]
async fn half_made_connection_leaves_nothing_on_the_server() {
    let server = MariaDb::start().await.unwrap();
    let mysql = MySql::new(&server.url()).unwrap();
    let mut polls = 0;
    while cancel_at(polls, mysql.acquire()).await.is_none() {
        polls += 1;
    }
    assert!(polls > 3, "it was never cut: {polls}");
    drop(mysql);
    let mut eye = bare(&server).await;
    let own = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'";
    for id in eye.query::<u64, _>(own).await.unwrap() {
        until_gone(&mut eye, id).await;
    }
}

/// The exits that were reported to the observer.
#[derive(Clone, Default)]
struct Exits(Arc<Mutex<Vec<Exit>>>);

impl Observer for Exits {
    fn released(&self, _of: Subject, exit: Exit) {
        self.0.lock().expect("not poisoned").push(exit);
    }
}

#[tokio::test]
async fn scope_with_a_cut_query_fails_even_if_it_completes() {
    let mut eye = bare(shared().await).await;
    let pool = pool(1).await;
    let exits = Exits::default();
    let scopes = Scopes::builder().observer(exits.clone()).build();
    let scope = scopes.open();
    let mut conn = scope.lazy(&pool).get().await.unwrap();
    let id = conn.as_ref().id();
    cut_at_work(&mut eye, id, "SLEEP(10)", conn.query_drop("DO SLEEP(10)")).await;
    drop(conn);
    scope.close(Exit::Completed).await.unwrap();
    let report = scopes.drain(PATIENCE).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(*exits.0.lock().unwrap(), [Exit::Failed]);
    assert_ne!(next_user_is_served(&pool).await, id);
    assert_eq!(doing(&mut eye, id).await, None);
}

#[tokio::test]
async fn kept_statement_cannot_be_closed_on_a_connection_in_doubt() {
    let mut eye = bare(shared().await).await;
    let pool = pool(1).await;
    let mut lease = Lease::acquire(&pool).await.unwrap();
    let id = lease.as_ref().id();
    let statement = lease.prep("DO SLEEP(?)").await.unwrap();
    cut_at_work(&mut eye, id, "SLEEP(?)", lease.exec_drop(&statement, (10,))).await;
    let error = refusal(lease.close(statement).await);
    assert!(matches!(error, MySqlError::InDoubt), "{error:?}");
}

/// The driver panics if a row cannot be converted; so may the closure of the caller.
#[tokio::test]
async fn row_conversion_that_panics_counts_as_cut() {
    let pool = pool(1).await;
    for way in 0..3 {
        let mut lease = Lease::acquire(&pool).await.unwrap();
        let id = lease.as_ref().id();
        let panics = async {
            match way {
                0 => lease.query::<u8, _>("SELECT 'seven'").await.map(drop),
                1 => lease.exec_first::<u8, _, _>("SELECT 'seven' UNION SELECT 'eight'", ()).await.map(drop),
                _ => lease
                    .query_map("SELECT 7 UNION SELECT 8", |_: u8| panic!("in the user's own code"))
                    .await
                    .map(drop),
            }
        };
        AssertUnwindSafe(panics).catch_unwind().await.unwrap_err();
        refuses_everything(&mut lease).await;
        drop(Lease::complete(lease));
        assert_ne!(next_user_is_served(&pool).await, id, "way {way}");
    }
}
