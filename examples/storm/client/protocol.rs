//! The protocols that the clients speak.
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Protocol {
    #[serde(rename = "HTTP/1.1")]
    Http1,
    #[serde(rename = "HTTP/2")]
    Http2,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        }
    }

    /// Returns what a storm over this protocol does not cover, with the reasons.
    pub(crate) fn not_covered(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Protocol::Http1 => &[
                ("RST_STREAM, GOAWAY, a closed window", "only HTTP/2 has them"),
                ("whether a cut answer was complete", "the client has gone, and may have missed it"),
            ],
            Protocol::Http2 => &[
                ("half-close", "every GET closes its half of the stream, and a FIN cuts all streams"),
                ("pipelined requests", "streams do not wait for each other"),
                ("the order of answers on a connection", "there is none"),
                ("whether a cut answer was complete", "the client has gone, and may have missed it"),
            ],
        }
    }
}
