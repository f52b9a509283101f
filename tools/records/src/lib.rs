//! What `reqscope-bench`, `reqscope-compare` and `reqscope-endings` print as JSON and `cargo xtask` reads.
//!
//! Each type is defined once, for both sides. Nothing is judged here.

pub mod bench;
pub mod compare;
pub mod endings;
