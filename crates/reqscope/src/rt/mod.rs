//! All access to what is outside of this crate's control: locks and atomics, tokio's runtime, its clock, random
//! numbers, and user code that may panic.

pub(crate) mod sync;
pub(crate) mod runtime;
pub(crate) mod shortcut;
pub(crate) mod numbered;
pub(crate) mod rand;
pub(crate) mod catch;
pub(crate) mod defer;
pub(crate) mod list;
pub(crate) mod wakers;
pub(crate) mod timer;
pub(crate) mod time;
pub(crate) mod clock;
