//! What `reqscope-bench` and `reqscope-compare` print as JSON and `cargo xtask` reads.
//!
//! Each type is defined once, for both sides. Nothing is judged here.

pub mod bench;
pub mod compare;
