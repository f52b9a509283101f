//! The bytes that no library sends: what is wrong, and what a library says when it wants to.

/// GOAWAY without an error: the last stream of the server that was seen is 0.
pub(crate) const GO_AWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS: none.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// HEADERS of 10 bytes that end both the headers and the stream 1: `GET http://storm/`.
const HEADERS: &[u8] = &[0, 0, 10, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 5, b's', b't', b'o', b'r', b'm'];

/// A whole connection's beginning, for whoever sends a part of it.
pub(crate) fn request() -> Vec<u8> {
    [PREFACE, SETTINGS, HEADERS].concat()
}
