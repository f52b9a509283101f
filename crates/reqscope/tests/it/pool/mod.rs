//! The pool, by law: one test each.

mod backing_off;
mod cancelling;
mod checking_out;
mod creating;
mod crowds;
mod doubting;
mod dying;
mod ending;
mod figures;
mod janitor;
mod keeping;
mod laws;
mod outage;
mod pausing;
mod resizing;
mod retaining;
mod rig;
mod rounds;
mod runtimes;
mod twice;
mod watching;
