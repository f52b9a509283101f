//! Raw HTTP/2 frames, for what h2 does not send.

use crate::Protocol;

/// A GOAWAY: the client will open no more streams.
pub(crate) const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A RST_STREAM: the client cancels its request on stream 1.
pub(crate) const RST_STREAM: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];

/// Returns the bytes of a new connection with one GET, for a client that does not wait for the server's settings.
pub(crate) fn get(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Http1 => b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        Protocol::Http2 => {
            let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            // END_STREAM and END_HEADERS on stream 1; the method, the scheme, the path and an authority.
            let headers = [0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'a'];
            [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings, &headers].concat()
        }
    }
}
