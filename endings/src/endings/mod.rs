//! The list. A line of it is a file beside this one, a row of the table, and a test.

use crate::Ending;

/// Gives the names of all endings to a macro.
#[macro_export]
macro_rules! each_ending {
    ($macro:ident) => {
        $macro! {
            unused
            returned_2xx
            returned_3xx
            returned_4xx
            returned_5xx
            returned_4xx_that_keeps
            returned_error
            head
            no_content
            not_modified
            empty
            exact_length
            chunked
            trailers
            lease_body_completes
            lease_body_exact_length
            lease_body_empty
            lease_body_no_content
            lease_body_head
            lease_body_fails
            lease_body_operation_fails
            lease_body_dropped
            lease_body_slow_reader
            slow_reader
            lease_body_settle_fails
            lease_body_trailers_fail
            gone_before_the_first_poll
            fin_in_the_queue
            fin_while_it_acquires
            fin_while_it_holds
            commit_at_every_poll
            fin_in_the_body
            rst_while_it_holds
            half_close
            half_close_allowed
            rst_stream_while_it_holds
            rst_stream_in_the_body
            rst_stream_in_the_queue
            rst_stream_in_the_commit
            goaway
            lost_with_many_streams
            peer_vanishes
            peer_vanishes_and_is_asked
            deadline
            pipelined
            pipelined_and_fin
            upload_unread
            upload_unread_and_answered
            upload_chunked_unread
            upload_half_sent
            upload_half_sent_and_told
            upload_half_sent_and_answered
            upload_dropped
            expect_unpolled
            expect_and_sent
            panic_in_the_handler
            panic_caught_outside
            panic_caught_inside
            panic_in_the_body
            panic_in_the_body_caught
            lease_body_panics
            timeout_inside
            timeout_outside
            timeout_outside_in_the_commit
            upgrade
            upgrade_not_taken
            spawned_settling
            spawned_plain
            panic_swallowed
            query_cut
            commit_fails
            commit_hangs
            rollback_fails
            shutdown_in_flight
            shutdown_timed_out
            shutdown_release_hangs
        }
    };
}

macro_rules! endings {
    ($($name:ident)*) => {
        $(mod $name;)*

        /// Every ending there is, in the order of the table.
        pub const ALL: &[&Ending] = &[$(&$name::ENDING),*];
    };
}

each_ending!(endings);
