//! Request-scoped resources for async Rust.
mod error;
mod exit;
mod resource;

pub use error::{Error, Stage};
pub use exit::Exit;
pub use resource::{Health, Resource};
