//! The named futures that methods of this crate return.
//!
//! A struct can store them without a box. The docs of each say what dropping it loses.

pub use crate::lease::Release;
pub use crate::scope::close::Close;
pub use crate::scope::lazy::Get;
pub use crate::shared::SharedGet;
