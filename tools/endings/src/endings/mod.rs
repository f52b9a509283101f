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
            lease_body_reset
            lease_body_slow_reader
            slow_reader
            lease_body_settle_fails
            lease_body_empty_settle_fails
            lease_body_trailers_fail
            gone_at_once
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
            lease_body_panics_beside
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

// What is declared here and not in the list is dead code, which clippy does not let pass.
mod unused;
mod returned_2xx;
mod returned_3xx;
mod returned_4xx;
mod returned_5xx;
mod returned_4xx_that_keeps;
mod returned_error;
mod head;
mod no_content;
mod not_modified;
mod empty;
mod exact_length;
mod chunked;
mod trailers;
mod lease_body_completes;
mod lease_body_exact_length;
mod lease_body_empty;
mod lease_body_no_content;
mod lease_body_head;
mod lease_body_fails;
mod lease_body_operation_fails;
mod lease_body_dropped;
mod lease_body_reset;
mod lease_body_slow_reader;
mod slow_reader;
mod lease_body_settle_fails;
mod lease_body_empty_settle_fails;
mod lease_body_trailers_fail;
mod gone_at_once;
mod fin_in_the_queue;
mod fin_while_it_acquires;
mod fin_while_it_holds;
mod commit_at_every_poll;
mod fin_in_the_body;
mod rst_while_it_holds;
mod half_close;
mod half_close_allowed;
mod rst_stream_while_it_holds;
mod rst_stream_in_the_body;
mod rst_stream_in_the_queue;
mod rst_stream_in_the_commit;
mod goaway;
mod lost_with_many_streams;
mod peer_vanishes;
mod peer_vanishes_and_is_asked;
mod deadline;
mod pipelined;
mod pipelined_and_fin;
mod upload_unread;
mod upload_unread_and_answered;
mod upload_chunked_unread;
mod upload_half_sent;
mod upload_half_sent_and_told;
mod upload_half_sent_and_answered;
mod upload_dropped;
mod expect_unpolled;
mod expect_and_sent;
mod panic_in_the_handler;
mod panic_caught_outside;
mod panic_caught_inside;
mod panic_in_the_body;
mod panic_in_the_body_caught;
mod lease_body_panics;
mod lease_body_panics_beside;
mod timeout_inside;
mod timeout_outside;
mod timeout_outside_in_the_commit;
mod upgrade;
mod upgrade_not_taken;
mod spawned_settling;
mod spawned_plain;
mod panic_swallowed;
mod query_cut;
mod commit_fails;
mod commit_hangs;
mod rollback_fails;
mod shutdown_in_flight;
mod shutdown_timed_out;
mod shutdown_release_hangs;

macro_rules! list {
    ($($name:ident)*) => {
        /// Every ending there is, in the order of the table.
        pub const ALL: &[&Ending] = &[$(&$name::ENDING),*];
    };
}

each_ending!(list);
