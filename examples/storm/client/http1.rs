//! One client over HTTP/1.1: plain blocking sockets, so that a hang-up is exactly the FIN or the RST that it says.
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Instant;

use crate::client::hangup::{PATIENCE, hang_up, is_gone, timed_out};
use crate::client::outcome::{Answer, Seen};
use crate::client::plan::{Fate, Part, STREAMED};
use crate::client::response::{Head, Response};

/// A client and the connection that it kept from its last answer.
pub(crate) struct Client {
    target: SocketAddr,
    kept: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(target: SocketAddr) -> Client {
        Client { target, kept: None }
    }

    /// A request of the storm's own, outside of the fates.
    pub(crate) fn ask(&mut self, method: &str, path: &str) -> io::Result<Response> {
        let mut connection = self.connection()?;
        connection.get_mut().write_all(request(method, path).as_bytes())?;
        let response = Response::read(&mut connection)?;
        if response.head.keeps {
            self.kept = Some(connection);
        }
        Ok(response)
    }

    /// Plays a part to its end.
    pub(crate) fn play(&mut self, part: &Part) -> io::Result<Seen> {
        let seen = match part.fate {
            Fate::Complete => self.complete(part),
            Fate::Fin | Fate::Reset | Fate::Pipeline => self.hang_up(part),
            Fate::MidBody => self.hang_up_in_mid_body(part),
            Fate::HalfClose => self.half_close(part),
            Fate::HalfRequest => self.half_request(part),
            Fate::ResetStream | Fate::ClosedWindow | Fate::GoAway | Fate::GoAwayFin => {
                unreachable!("HTTP/1.1 has no streams, and draws no such part")
            }
        };
        // What a read that lasts too long answers differs from system to system.
        seen.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => timed_out(),
            _ => error,
        })
    }

    fn complete(&mut self, part: &Part) -> io::Result<Seen> {
        let begun = Instant::now();
        let path = part.paths[0];
        let response = self.ask("GET", path)?;
        Ok(Seen::whole(answer(path, response), begun.elapsed()))
    }

    fn hang_up(&mut self, part: &Part) -> io::Result<Seen> {
        let mut connection = self.connection()?;
        let requests: String = part.paths.iter().map(|path| request("GET", path)).collect();
        connection.get_mut().write_all(requests.as_bytes())?;
        sleep(part.after);
        let arrived = arrived(connection.get_mut())?;
        hang_up(connection.into_inner(), part.hangup)?;

        // Answers come in the order of the requests; the first one that is not whole ends the row.
        let mut arrived = arrived.as_slice();
        let whole = |path: &&'static str| Response::read(&mut arrived).ok().map(|response| answer(path, response));
        let answers = part.paths.iter().map_while(whole).collect();
        Ok(Seen { answers, ..Seen::default() })
    }

    fn hang_up_in_mid_body(&mut self, part: &Part) -> io::Result<Seen> {
        let mut connection = self.connection()?;
        let path = part.paths[0];
        connection.get_mut().write_all(request("GET", path).as_bytes())?;
        let head = Head::read(&mut connection)?;
        let wanted = (part.share * STREAMED) as u64;
        io::copy(&mut connection.by_ref().take(wanted), &mut io::sink())?;
        hang_up(connection.into_inner(), part.hangup)?;
        Ok(Seen::part(Answer { path, status: head.status, body: Vec::new() }))
    }

    fn half_close(&mut self, part: &Part) -> io::Result<Seen> {
        let mut connection = self.connection()?;
        let begun = Instant::now();
        let path = part.paths[0];
        connection.get_mut().write_all(request("GET", path).as_bytes())?;
        connection.get_mut().shutdown(Shutdown::Write)?;
        match Response::read(&mut connection) {
            Ok(response) => Ok(Seen::whole(answer(path, response), begun.elapsed())),
            // To a server a half-close looks like a hang-up; it may take it for one.
            Err(error) if is_gone(&error) => Ok(Seen::default()),
            Err(error) => Err(error),
        }
    }

    fn half_request(&mut self, part: &Part) -> io::Result<Seen> {
        let mut connection = self.connection()?;
        let whole = request("GET", part.paths[0]);
        let sent = 1 + (part.share * (whole.len() - 1) as f64) as usize;
        connection.get_mut().write_all(&whole.as_bytes()[..sent])?;
        sleep(part.after);
        hang_up(connection.into_inner(), part.hangup)?;
        Ok(Seen::default())
    }

    fn connection(&mut self) -> io::Result<BufReader<TcpStream>> {
        if let Some(kept) = self.kept.take() {
            return Ok(kept);
        }
        let stream = TcpStream::connect_timeout(&self.target, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(BufReader::new(stream))
    }
}

fn answer(path: &'static str, Response { head, body }: Response) -> Answer {
    Answer { path, status: head.status, body }
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: storm\r\nuser-agent: storm\r\naccept: */*\r\n\r\n")
}

/// What has come so far, without waiting for more.
fn arrived(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    stream.set_nonblocking(true)?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_gone(&error) => Ok(bytes),
        Err(error) => Err(error),
    }
}
