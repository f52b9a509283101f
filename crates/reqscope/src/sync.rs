//! The one door to locks and atomics, so that a model checker can stand behind it.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub(crate) use parking_lot::Mutex;
