//! What the clients speak.
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

    /// What a storm over this protocol says nothing about, with the reason.
    pub(crate) fn untold(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Protocol::Http1 => &[
                ("RST_STREAM, GOAWAY, a closed window", "only HTTP/2 has them"),
                ("how a cut answer ended", "the client has gone, and may have missed a whole one"),
            ],
            Protocol::Http2 => &[
                ("half-close", "every GET closes its half of the stream, and a FIN cuts all streams alike"),
                ("pipelined requests", "streams do not wait for each other"),
                ("the order of answers on a connection", "it has none"),
                ("how a cut answer ended", "the client has gone, and may have missed a whole one"),
            ],
        }
    }
}
