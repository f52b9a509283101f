//! Every ending, on every stack and over every protocol where it exists.

use std::collections::BTreeSet;

use reqscope_endings::{Protocol, Stack, all, play};
use reqscope_records::endings::Verdict;

macro_rules! tests {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                is_as_declared(stringify!($name));
            }
        )*

        #[test]
        fn each_ending_has_a_test() {
            let tested: BTreeSet<String> = [$(stringify!($name)),*].iter().map(|name| name.replace('_', "-")).collect();
            let declared: BTreeSet<String> = all().map(|ending| ending.name.to_owned()).collect();
            assert_eq!(tested, declared);
            assert_eq!(all().count(), declared.len(), "two endings have one name");
        }
    };
}

tests! {
    unused returned_2xx returned_3xx returned_4xx returned_5xx returned_4xx_that_keeps returned_error
    head no_content not_modified empty exact_length chunked trailers slow_reader

    lease_body_completes lease_body_exact_length lease_body_empty lease_body_no_content lease_body_head lease_body_fails
    lease_body_operation_fails lease_body_dropped lease_body_reset lease_body_slow_reader lease_body_settle_fails
    lease_body_empty_settle_fails lease_body_trailers_fail

    gone_at_once fin_in_the_queue fin_while_it_acquires fin_while_it_holds fin_in_the_body rst_while_it_holds
    half_close half_close_allowed pipelined pipelined_and_fin peer_vanishes peer_vanishes_and_is_asked

    rst_stream_while_it_holds rst_stream_in_the_body rst_stream_in_the_queue rst_stream_in_the_commit
    goaway lost_with_many_streams

    upload_unread upload_unread_and_answered upload_chunked_unread upload_half_sent upload_half_sent_and_told
    upload_half_sent_and_answered upload_dropped expect_unpolled expect_and_sent

    panic_in_the_handler panic_caught_outside panic_caught_inside panic_in_the_body panic_in_the_body_caught
    lease_body_panics lease_body_panics_beside panic_swallowed

    deadline timeout_inside timeout_outside timeout_outside_in_the_commit query_cut

    upgrade upgrade_not_taken spawned_settling spawned_plain

    commit_at_every_poll commit_fails commit_hangs rollback_fails

    shutdown_in_flight shutdown_timed_out shutdown_release_hangs
}

fn is_as_declared(test: &str) {
    let ending =
        all().find(|ending| ending.name == test.replace('_', "-")).expect("a test is named after its ending");
    let mut wrong = Vec::new();
    for stack in [Stack::Hyper, Stack::Axum] {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            if let Verdict::Wrong(why) = play(ending, stack, protocol).verdict {
                wrong.push(format!("{stack:?} over {protocol:?}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", ending.sentence, wrong.join("\n"));
}
