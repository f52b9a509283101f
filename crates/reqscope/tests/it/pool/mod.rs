//! The pool, by law: one test each.

mod backing_off;
mod checking_out;
mod pausing;
