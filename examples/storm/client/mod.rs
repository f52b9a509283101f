//! The storm's clients.
pub(crate) mod attack;
mod hangup;
mod http1;
mod http2;
pub(crate) mod outcome;
pub(crate) mod plan;
pub(crate) mod protocol;
mod response;
pub(crate) mod results;
