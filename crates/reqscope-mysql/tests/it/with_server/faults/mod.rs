//! Measures what each fault does to callers. The table of faults in the README is written from this, and compared with
//! it.

mod answer;
mod causes;
mod table;

use std::future::Future;
use std::pin::Pin;

use tokio::time::timeout;

use self::table::Row;
use crate::with_server::support::PATIENCE;

type Cause = Pin<Box<dyn Future<Output = Row> + Send>>;

/// Returns the faults in the order of the table.
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
        Box::pin(causes::silent_network()),
        Box::pin(causes::silent_network_during_a_commit()),
        Box::pin(causes::full()),
        Box::pin(causes::hung_up()),
        Box::pin(causes::read_only()),
    ]
}

/// Limits the time of a fault, so that a hang fails the test.
async fn in_time(cause: Cause) -> Row {
    timeout(2 * PATIENCE, cause).await.expect("callers get an answer in the end")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_faults_matches_what_each_fault_does() {
    let mut rows = Vec::new();
    if table::is_blessed() {
        // One after the other, so that the measured times are those of an idle machine.
        for cause in causes() {
            rows.push(in_time(cause).await);
        }
        return table::write(&rows);
    }
    let causing: Vec<_> = causes().into_iter().map(in_time).map(tokio::spawn).collect();
    for cause in causing {
        rows.push(cause.await.expect("the fault can be caused"));
    }
    let differences = table::differences(&rows);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
