//! Small storms on MySQL, and storms on it that must fail.
use reqscope_testkit::MariaDb;
use serde_json::Value;

use crate::process::{Server, example, run};
use crate::storm::{broken, stderr, storm, storm_at_every_stage, survives};

fn statements(report: &Value, name: &str) -> u64 {
    report["server"]["database"][name].as_u64().unwrap()
}

fn on_mysql<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--resource", "mysql", "--requests", "1500"], more].concat()
}

#[test]
fn storm_on_mysql_leaves_nothing_behind_on_the_server() {
    let report = survives(&on_mysql(&["--seed", "1", "--connections", "16"]));
    assert!(statements(&report, "cut") > 10, "{}", statements(&report, "cut"));
    assert!(statements(&report, "kills") >= statements(&report, "cut"));
    assert_eq!((statements(&report, "orphaned"), statements(&report, "running")), (0, 0));
    assert_eq!(report["server"]["wrong_answers"], 0);
}

#[test]
fn storm_on_two_connections_over_http2_leaves_nothing_behind() {
    let report = survives(&on_mysql(&["--seed", "2", "--connections", "16", "--pool", "2", "--http2"]));
    assert!(statements(&report, "peak") <= 2, "{}", statements(&report, "peak"));
}

#[test]
fn storm_on_axum_and_mysql_leaves_nothing_behind() {
    survives(&on_mysql(&["--seed", "3", "--connections", "16", "--stack", "axum"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn storm_by_url_removes_its_tables_and_hides_the_password() {
    let mariadb = MariaDb::start().await.unwrap();
    let grant = "CREATE USER storm@localhost IDENTIFIED BY 's3cr3t'; GRANT ALL ON test.* TO storm@localhost; \
                 CREATE USER storm@'127.0.0.1' IDENTIFIED BY 's3cr3t'; GRANT ALL ON test.* TO storm@'127.0.0.1'";
    mariadb.query(grant).await.unwrap();
    let url = mariadb.url().replace("root@", "storm:s3cr3t@");
    let (output, report) = storm_at_every_stage(&on_mysql(&["--seed", "4", "--connections", "16", "--url", &url]));
    let all_output = format!("{}{}{report}", stderr(&output), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!all_output.contains("s3cr3t"), "{all_output}");
    assert_eq!(mariadb.query("SHOW TABLES").await.unwrap(), "");

    // Two storms at once would remove each other's tables.
    let arguments = ["serve", "--port", "0", "--resource", "mysql", "--url", &url];
    let first = Server::start(example("storm").args(arguments));
    // The server listens before it has created its tables.
    assert!(first.ask("GET /stats", "").starts_with("HTTP/1.1 200 "));
    let second = run(example("storm").args(arguments));
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("another storm is in this database"), "{}", stderr(&second));
    let (status, text) = first.interrupt();
    assert!(status.success(), "{text}");
}

#[test]
fn url_of_no_server_is_not_repeated() {
    let url = "mysql://storm:s3cr3t@127.0.0.1:1/test";
    let output = run(example("storm").args(["--resource", "mysql", "--url", url]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot connect to the database"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("s3cr3t"), "{}", stderr(&output));
}

/// Runs a storm that must break these invariants.
///
/// The longer a statement runs, the more other requests there are that can get its answer, or its slot.
fn fails_on_mysql(fault: &str, names: &[&str]) {
    let storm_of = ["--seed", "5", "--work-ms", "20", "--break", fault];
    let (output, report) = storm(&on_mysql(&storm_of));
    assert_eq!(output.status.code(), Some(1));
    for name in names {
        assert!(broken(&report).contains(name), "{name} is not among {:?}", broken(&report));
    }
}

#[test]
fn answer_to_another_query_is_caught() {
    fails_on_mysql("shift", &["every answer belongs to its query"]);
}

#[test]
fn orphaned_statement_is_caught() {
    fails_on_mysql("orphan", &["no statement is orphaned", "every cut statement is stopped"]);
}

#[test]
fn faults_caught_on_sqlite_are_caught_on_mysql() {
    fails_on_mysql("leak", &["no handle is live", "the pool is at rest", "the pool closes cleanly"]);
    fails_on_mysql("double", &["no handle is released twice"]);
    // A request that is cut in the middle leaves its row all the same. Whether another request is there to read its tag
    // is a matter of chance here; on SQLite it is not.
    fails_on_mysql("cross", &["every commit is a row"]);
}
