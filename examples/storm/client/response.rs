//! An answer over HTTP/1.1, read from a plain socket.
use std::io::{self, BufRead, Read};

/// The head of an answer: the status, and how the end of the body is found.
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Whether the server keeps the connection open.
    pub(crate) keeps: bool,
    end: End,
}

enum End {
    Length(u64),
    LastChunk,
    Close,
}

/// A whole answer.
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Head {
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Head> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            if from.read_until(b'\n', &mut bytes)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Response::new(&mut headers);
        parsed.parse(&bytes).map_err(io::Error::other)?;

        let header = |name: &str| {
            let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
        };
        let end = if header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            End::LastChunk
        } else if let Some(length) = header("content-length") {
            End::Length(length.parse().map_err(io::Error::other)?)
        } else {
            End::Close
        };
        let status = parsed.code.ok_or(io::ErrorKind::InvalidData)?;
        let keeps = !matches!(end, End::Close) && header("connection").is_none_or(|tokens| tokens != "close");
        Ok(Head { status, keeps, end })
    }
}

impl Response {
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Response> {
        let head = Head::read(from)?;
        let mut body = Vec::new();
        match head.end {
            End::Length(length) => read_exactly(from, length, &mut body)?,
            End::LastChunk => while read_chunk(from, &mut body)? > 0 {},
            End::Close => {
                from.read_to_end(&mut body)?;
            }
        }
        Ok(Response { head, body })
    }
}

/// Reads a chunk and returns its length, which is 0 for the last one.
fn read_chunk(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<u64> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let length = u64::from_str_radix(line.trim_end(), 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    read_exactly(from, length, body)?;
    read_exactly(from, 2, &mut Vec::new())?;
    Ok(length)
}

fn read_exactly(from: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    match from.take(length).read_to_end(body)? as u64 == length {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::Response;

    fn body(mut bytes: &[u8]) -> Option<Vec<u8>> {
        Response::read(&mut bytes).ok().map(|response| response.body)
    }

    #[test]
    fn body_ends_where_its_head_says() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhello").unwrap(), b"he");
        assert_eq!(
            body(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\na\r\nllo, world\r\n0\r\n\r\n")
                .unwrap(),
            b"hello, world"
        );
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap(), b"hello");
    }

    #[test]
    fn cut_answer_is_an_error() {
        for cut in [
            "HTTP/1.1 200 OK\r\ncontent-le",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ] {
            assert_eq!(body(cut.as_bytes()), None, "{cut}");
        }
    }
}
