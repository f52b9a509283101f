use serde::Serialize;

/// Which protocol the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, bytes over TCP.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}
