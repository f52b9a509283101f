//! The pool, by law: one test each.

mod backing_off;
mod checking_out;
mod figures;
mod janitor;
mod keeping;
mod pausing;
mod retaining;
mod rounds;
mod watching;
