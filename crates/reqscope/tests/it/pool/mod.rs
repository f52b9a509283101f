//! The pool, by law: one test each.

mod checking_out;
