//! Tests of the pool, over a probe that counts its handles.

mod aging;
mod asking_twice;
mod backing_off;
mod cancelling;
mod checking_out;
mod closing;
mod creating;
mod crowds;
mod dead_handles;
mod janitor;
mod keeping;
mod labels;
mod laws;
mod lost;
mod outage;
mod pausing;
mod resetting;
mod resizing;
mod retaining;
mod rig;
mod runtimes;
mod status;
mod validating;
mod watching;
