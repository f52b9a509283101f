//! The behaviour of the driver that this crate works around. A driver version that behaves differently fails here.

use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{Conn, Error, Pool};
use reqscope_testkit::{MariaDb, cancel_at};

use crate::with_server::support::{bare, cut_at_work, shared, until_at_work};

/// Opens a connection of the driver whose query `SELECT 1` is cut after it was sent.
async fn cut() -> Conn {
    let mut conn = bare(shared().await).await;
    assert!(cancel_at(1, conn.query_first::<u64, _>("SELECT 1")).await.is_none(), "it ended before it could be cut");
    conn
}

/// The driver returns the answer of the cut query to the next one, and stays shifted by one.
#[tokio::test]
async fn driver_returns_answers_shifted_by_one_after_a_cut() {
    let mut conn = cut().await;
    for question in 2..5_u64 {
        let answer: Option<u64> = conn.query_first(format!("SELECT {question}")).await.unwrap();
        assert_eq!(answer, Some(question - 1));
    }
}

#[tokio::test]
async fn is_disconnected_turns_false_after_the_first_wrong_answer() {
    let mut conn = cut().await;
    assert!(conn.is_disconnected(), "right after the cut");
    assert_eq!(conn.query_first("SELECT 2").await.unwrap(), Some(1_u64));
    assert!(!conn.is_disconnected(), "it claims to be connected");
}

#[tokio::test]
async fn ping_and_reset_succeed_on_a_shifted_connection() {
    let mut conn = bare(shared().await).await;
    assert!(cancel_at(1, conn.query_drop("DO 1")).await.is_none());
    conn.ping().await.unwrap();
    assert!(conn.reset().await.unwrap());
    assert!(!conn.is_disconnected());
    // Each has read the answer of the one before: this one reads that of the reset, and the next one that of this one.
    conn.query_drop("SELECT 2").await.unwrap();
    assert_eq!(conn.query_first("SELECT 3").await.unwrap(), Some(2_u64));
}

#[tokio::test]
async fn driver_reads_the_rest_of_unread_rows() {
    let mut conn = bare(shared().await).await;
    let mut rows = conn.query_iter("SELECT seq FROM seq_1_to_5000; SELECT 9").await.unwrap();
    assert!(rows.next().await.unwrap().is_some());
    drop(rows);
    assert!(!conn.is_disconnected());
    assert_eq!(conn.query_first("SELECT 2").await.unwrap(), Some(2_u64));
}

#[tokio::test]
async fn cut_between_two_result_sets_loses_the_connection() {
    let mut eye = bare(shared().await).await;
    let mut conn = bare(shared().await).await;
    let id: u64 = conn.query_first("SELECT CONNECTION_ID()").await.unwrap().unwrap();
    let mut sets = conn.query_iter("SELECT REPEAT('x', 40000); SELECT SLEEP(2) + 7").await.unwrap();
    assert!(sets.next().await.unwrap().is_some());
    cut_at_work(&mut eye, id, "SLEEP(2)", sets.next()).await;
    drop(sets);
    assert!(conn.is_disconnected());
    // The packet numbers reveal it: they differ if another result set comes before this answer.
    let error = conn.query_first::<u64, _>("SELECT 2").await.unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
}

/// The driver's pool serves the next caller while the server still runs the statement of the last one.
#[tokio::test]
async fn drivers_pool_lends_a_slot_while_its_statement_still_runs() {
    let server = MariaDb::start().await.unwrap();
    let mut eye = bare(&server).await;
    let pool = Pool::new(format!("{}?pool_min=1&pool_max=1", server.url()).as_str());
    for _ in 0..3 {
        let mut conn = pool.get_conn().await.unwrap();
        let id: u64 = conn.query_first("SELECT CONNECTION_ID()").await.unwrap().unwrap();
        tokio::select! {
            _ = conn.query_drop("DO SLEEP(60)") => panic!("it ended before it could be cut"),
            () = until_at_work(&mut eye, id, "SLEEP(60)") => {}
        }
    }
    let asleep = "SELECT count(*) FROM information_schema.processlist WHERE info = 'DO SLEEP(60)'";
    assert_eq!(eye.query_first(asleep).await.unwrap(), Some(3_u64), "with one slot");
}

/// These are the defaults that the builder changes.
#[tokio::test]
async fn driver_has_no_keepalive_and_prefers_the_socket() {
    let conn = bare(shared().await).await;
    assert_eq!(conn.opts().tcp_keepalive(), None);
    assert!(conn.opts().prefer_socket());
}
