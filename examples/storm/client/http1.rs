//! A client over HTTP/1.1. It uses plain blocking sockets, so that a hang-up sends exactly the FIN or the RST it
//! should.
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Instant;

use crate::client::hangup::{ANSWER_TIMEOUT, hang_up, is_gone, timed_out};
use crate::client::outcome::{Answer, Outcome};
use crate::client::plan::{Plan, STREAMED, Scenario};
use crate::client::response::{Head, Response};

/// A client, and the connection that it has kept open after its last answer.
pub(crate) struct Client {
    target: SocketAddr,
    kept: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(target: SocketAddr) -> Client {
        Client { target, kept: None }
    }

    /// Sends a request and waits for the answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str) -> io::Result<Response> {
        let mut connection = self.connection()?;
        connection.get_mut().write_all(request(method, path).as_bytes())?;
        let response = Response::read(&mut connection)?;
        if response.head.keeps {
            self.kept = Some(connection);
        }
        Ok(response)
    }

    /// Carries out a plan.
    pub(crate) fn run(&mut self, plan: &Plan) -> io::Result<Outcome> {
        let outcome = match plan.scenario {
            Scenario::Complete => self.complete(plan),
            Scenario::Fin | Scenario::Reset | Scenario::Pipeline => self.hang_up(plan),
            Scenario::MidBody => self.hang_up_in_mid_body(plan),
            Scenario::HalfClose => self.half_close(plan),
            Scenario::HalfRequest => self.half_request(plan),
            Scenario::ResetStream | Scenario::ClosedWindow | Scenario::GoAway | Scenario::GoAwayFin => {
                unreachable!("HTTP/1.1 has no streams, so no such plan is drawn")
            }
        };
        // The error of a read that times out differs from system to system.
        outcome.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => timed_out(),
            _ => error,
        })
    }

    fn complete(&mut self, plan: &Plan) -> io::Result<Outcome> {
        let begun = Instant::now();
        let path = plan.paths[0];
        let response = self.ask("GET", path)?;
        Ok(Outcome::whole(answer(path, response), begun.elapsed()))
    }

    fn hang_up(&mut self, plan: &Plan) -> io::Result<Outcome> {
        let mut connection = self.connection()?;
        let requests: String = plan.paths.iter().map(|path| request("GET", path)).collect();
        connection.get_mut().write_all(requests.as_bytes())?;
        sleep(plan.after);
        let arrived = arrived(connection.get_mut())?;
        hang_up(connection.into_inner(), plan.hangup)?;

        // Answers arrive in the order of the requests, so the first incomplete one is the last.
        let mut arrived = arrived.as_slice();
        let whole = |path: &&'static str| Response::read(&mut arrived).ok().map(|response| answer(path, response));
        let answers = plan.paths.iter().map_while(whole).collect();
        Ok(Outcome { answers, ..Outcome::default() })
    }

    fn hang_up_in_mid_body(&mut self, plan: &Plan) -> io::Result<Outcome> {
        let mut connection = self.connection()?;
        let path = plan.paths[0];
        connection.get_mut().write_all(request("GET", path).as_bytes())?;
        let head = Head::read(&mut connection)?;
        let wanted = (plan.share * STREAMED) as u64;
        io::copy(&mut connection.by_ref().take(wanted), &mut io::sink())?;
        hang_up(connection.into_inner(), plan.hangup)?;
        Ok(Outcome::partial(Answer { path, status: head.status, body: Vec::new() }))
    }

    fn half_close(&mut self, plan: &Plan) -> io::Result<Outcome> {
        let mut connection = self.connection()?;
        let begun = Instant::now();
        let path = plan.paths[0];
        connection.get_mut().write_all(request("GET", path).as_bytes())?;
        connection.get_mut().shutdown(Shutdown::Write)?;
        match Response::read(&mut connection) {
            Ok(response) => Ok(Outcome::whole(answer(path, response), begun.elapsed())),
            // To a server a half-close looks like a hang-up, so it may take it for one.
            Err(error) if is_gone(&error) => Ok(Outcome::default()),
            Err(error) => Err(error),
        }
    }

    fn half_request(&mut self, plan: &Plan) -> io::Result<Outcome> {
        let mut connection = self.connection()?;
        let whole = request("GET", plan.paths[0]);
        let sent = 1 + (plan.share * (whole.len() - 1) as f64) as usize;
        connection.get_mut().write_all(&whole.as_bytes()[..sent])?;
        sleep(plan.after);
        hang_up(connection.into_inner(), plan.hangup)?;
        Ok(Outcome::default())
    }

    /// Returns the connection that was kept, or opens one.
    fn connection(&mut self) -> io::Result<BufReader<TcpStream>> {
        if let Some(kept) = self.kept.take() {
            return Ok(kept);
        }
        let stream = TcpStream::connect_timeout(&self.target, ANSWER_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(BufReader::new(stream))
    }
}

fn answer(path: &'static str, Response { head, body }: Response) -> Answer {
    Answer { path, status: head.status, body }
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: storm\r\nuser-agent: storm\r\naccept: */*\r\n\r\n")
}

/// Returns the bytes that have arrived so far.
fn arrived(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    stream.set_nonblocking(true)?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_gone(&error) => Ok(bytes),
        Err(error) => Err(error),
    }
}
