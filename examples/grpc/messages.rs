//! What protoc would generate: the messages.
//!
//! ```text
//! service Log {
//!   rpc Append (Lines) returns (Total);
//!   rpc Read (Nothing) returns (stream Line);
//! }
//! ```

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Line {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Lines {
    #[prost(string, repeated, tag = "1")]
    pub(crate) lines: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Total {
    #[prost(uint32, tag = "1")]
    pub(crate) total: u32,
}
