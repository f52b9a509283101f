//! Bytes that are sent without h2, which would send them at another moment or not at all.

/// GOAWAY without an error. The last stream that the server has opened is 0.
pub(crate) const GO_AWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS, of which there are none.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// HEADERS of 10 bytes that end the headers and stream 1: `GET http://storm/`.
const HEADERS: &[u8] = &[0, 0, 10, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 5, b's', b't', b'o', b'r', b'm'];

/// Returns the first bytes of a connection, up to the end of its first request.
pub(crate) fn request() -> Vec<u8> {
    [PREFACE, SETTINGS, HEADERS].concat()
}
