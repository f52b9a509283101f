//! The work: what each does, how fast, and how fairly.

pub(crate) mod contended;
