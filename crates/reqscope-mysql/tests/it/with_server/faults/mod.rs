//! What each fault does to callers, measured; the table of faults in the README is written from it, and held to it.

mod answer;
mod causes;
mod table;

use std::future::Future;
use std::pin::Pin;

use tokio::time::timeout;

use self::table::Row;
use crate::with_server::support::PATIENCE;

type Cause = Pin<Box<dyn Future<Output = Row> + Send>>;

/// In the order of the table.
fn causes() -> Vec<Cause> {
    vec![
        Box::pin(causes::stopped()),
        Box::pin(causes::killed()),
        Box::pin(causes::restarted_just_now()),
        Box::pin(causes::restarted_while_idle()),
        Box::pin(causes::restarted_in_a_statement()),
        Box::pin(causes::frozen()),
        Box::pin(causes::closed_for_being_idle()),
        Box::pin(causes::killed_by_an_administrator()),
        Box::pin(causes::swallowed()),
        Box::pin(causes::swallowed_in_a_commit()),
        Box::pin(causes::full()),
        Box::pin(causes::hung_up()),
        Box::pin(causes::read_only()),
    ]
}

/// What has no end would show nothing.
async fn in_time(cause: Cause) -> Row {
    timeout(2 * PATIENCE, cause).await.expect("callers have an answer some day")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_faults_matches_what_each_fault_does() {
    let mut rows = Vec::new();
    if table::is_blessed() {
        // One after the other: the times are those of a machine that does nothing else.
        for cause in causes() {
            rows.push(in_time(cause).await);
        }
        return table::write(&rows);
    }
    let causing: Vec<_> = causes().into_iter().map(in_time).map(tokio::spawn).collect();
    for cause in causing {
        rows.push(cause.await.expect("a fault that can be caused"));
    }
    let differences = table::differences(&rows);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
