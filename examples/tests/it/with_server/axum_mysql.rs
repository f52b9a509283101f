//! The example on axum and MySQL, with a private MariaDB.
use std::thread;

use reqscope_testkit::MariaDb;

use crate::process::{Server, ask, example};

#[tokio::test]
async fn axum_mysql_retries_after_a_deadlock() {
    let mariadb = MariaDb::start().await.unwrap();
    let server = Server::start(example("axum_mysql").arg("0").env("DATABASE_URL", mariadb.url()));
    let address = &server.address;
    let status = |request: &str, body: &str| ask(address, request, body)["HTTP/1.1 ".len()..][..3].to_owned();
    assert!(server.ask("POST /notes", "buy milk").ends_with("\r\n\r\n1"));
    assert!(server.ask("POST /notes", "sell eggs").ends_with("\r\n\r\n2"));
    // The edit of the first note is counted before the second one is found missing.
    assert_eq!(status("PUT /notes/1/swap/3", ""), "404");
    let notes = || server.ask("GET /notes", "");
    assert!(notes().ends_with(r#"[[1,"buy milk",0],[2,"sell eggs",0]]"#), "{}", notes());

    thread::scope(|scope| {
        for path in ["PUT /notes/1/swap/2", "PUT /notes/2/swap/1"] {
            let swaps = move || (0..100).for_each(|_| assert_eq!(status(path, ""), "204"));
            scope.spawn(swaps);
        }
    });
    assert!(notes().ends_with(r#"[[1,"buy milk",200],[2,"sell eggs",200]]"#), "{}", notes());
    let deadlocks = "SELECT variable_value FROM information_schema.global_status \
                     WHERE variable_name = 'Innodb_deadlocks'";
    assert_ne!(mariadb.query(deadlocks).await.unwrap(), "0", "there was no deadlock");

    let (status, output) = server.interrupt();
    assert!(
        status.success() && output.contains("abandoned: 0, open_scopes: 0, acquiring: 0, tasks: 0, live: 0"),
        "{output}"
    );
}
