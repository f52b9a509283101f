//! Clients over HTTP/2. They share a connection, except for those whose plan ends the whole connection.
use std::cell::RefCell;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio::{runtime, select};

use crate::client::hangup::{ANSWER_TIMEOUT, hang_up, timed_out};
use crate::client::outcome::{Answer, Outcome};
use crate::client::plan::{Plan, STREAMED, Scenario};
use connection::{Connection, Stream, Window};

mod connection;
mod frames;

/// How many clients share a connection and a thread.
pub(crate) const STREAMS: u64 = 4;

/// Runs the clients with these indices on this thread, until `next` returns no more plans.
pub(crate) fn run(
    target: SocketAddr,
    indices: Range<u64>,
    next: impl Fn(u64) -> Option<Plan>,
    record: impl FnMut(&Plan, io::Result<Outcome>),
) -> io::Result<()> {
    let clients = Clients { target, kept: RefCell::default() };
    let record = RefCell::new(record);
    let run = async |index| {
        while let Some(plan) = next(index) {
            let outcome = clients.run(&plan).await;
            record.borrow_mut()(&plan, outcome);
        }
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(join_all(indices.map(run)));
    Ok(())
}

struct Clients {
    target: SocketAddr,
    /// The connection shared by the streams that end alone.
    kept: RefCell<Option<Rc<Connection>>>,
}

impl Clients {
    /// Carries out a plan.
    async fn run(&self, plan: &Plan) -> io::Result<Outcome> {
        let running = async {
            match plan.scenario {
                Scenario::Complete => self.complete(plan).await,
                Scenario::ResetStream => self.reset_stream(plan).await,
                Scenario::MidBody => self.reset_stream_in_mid_body(plan).await,
                Scenario::Fin | Scenario::Reset => self.hang_up(plan).await,
                Scenario::ClosedWindow => self.hang_up_behind_a_closed_window(plan).await,
                Scenario::GoAway | Scenario::GoAwayFin => self.go_away(plan).await,
                Scenario::HalfRequest => self.half_request(plan).await,
                Scenario::HalfClose | Scenario::Pipeline => {
                    unreachable!("HTTP/2 has neither, so no such plan is drawn")
                }
            }
        };
        timeout(ANSWER_TIMEOUT, running).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn complete(&self, plan: &Plan) -> io::Result<Outcome> {
        let begun = Instant::now();
        let (_connection, mut stream) = self.stream(plan.paths[0]).await?;
        Ok(Outcome::whole(stream.answer().await?, begun.elapsed()))
    }

    async fn reset_stream(&self, plan: &Plan) -> io::Result<Outcome> {
        let (_connection, mut stream) = self.stream(plan.paths[0]).await?;
        let answers = arrived(std::slice::from_mut(&mut stream), plan.after).await?;
        stream.reset();
        Ok(Outcome { answers, ..Outcome::default() })
    }

    async fn reset_stream_in_mid_body(&self, plan: &Plan) -> io::Result<Outcome> {
        let (_connection, mut stream) = self.stream(plan.paths[0]).await?;
        let status = stream.status().await?;
        stream.read((plan.share * STREAMED) as usize).await?;
        stream.reset();
        Ok(Outcome::partial(Answer { path: plan.paths[0], status, body: Vec::new() }))
    }

    async fn hang_up(&self, plan: &Plan) -> io::Result<Outcome> {
        let connection = Connection::open(self.target, Window::Open).await?;
        let mut streams = connection.streams(&plan.paths).await?;
        let answers = arrived(&mut streams, plan.after).await?;
        connection.hang_up(plan.hangup).await?;
        Ok(Outcome { answers, ..Outcome::default() })
    }

    async fn hang_up_behind_a_closed_window(&self, plan: &Plan) -> io::Result<Outcome> {
        let connection = Connection::open(self.target, Window::PoolShutdown).await?;
        let mut streams = connection.streams(&plan.paths).await?;
        let status = streams[0].status().await?;
        moment(plan.after).await;
        if plan.share < 0.5 {
            connection.hang_up(plan.hangup).await?;
        } else {
            streams.iter_mut().for_each(Stream::reset);
            // h2 closes a connection cleanly when it has no streams any more.
            drop(streams);
            connection.end().await;
        }
        Ok(Outcome::partial(Answer { path: plan.paths[0], status, body: Vec::new() }))
    }

    async fn go_away(&self, plan: &Plan) -> io::Result<Outcome> {
        let connection = Connection::open(self.target, Window::Open).await?;
        let mut streams = connection.streams(&plan.paths).await?;
        let mut answers = arrived(&mut streams, plan.after).await?;
        connection.go_away()?;
        if plan.scenario == Scenario::GoAwayFin {
            connection.hang_up(plan.hangup).await?;
        } else {
            answers.extend(arrived(&mut streams, ANSWER_TIMEOUT).await?);
        }
        Ok(Outcome { answers, ..Outcome::default() })
    }

    async fn half_request(&self, plan: &Plan) -> io::Result<Outcome> {
        let mut socket = TcpStream::connect_timeout(&self.target, ANSWER_TIMEOUT)?;
        let whole = frames::request();
        let sent = 1 + (plan.share * (whole.len() - 1) as f64) as usize;
        socket.write_all(&whole[..sent])?;
        moment(plan.after).await;
        hang_up(socket, plan.hangup)?;
        Ok(Outcome::default())
    }

    /// Opens a stream on the shared connection, or on a new one if the server has closed it.
    async fn stream(&self, path: &'static str) -> io::Result<(Rc<Connection>, Stream)> {
        let kept = self.kept.borrow().clone();
        if let Some(kept) = kept {
            if let Ok(stream) = kept.stream(path).await {
                return Ok((kept, stream));
            }
        }
        let new = Rc::new(Connection::open(self.target, Window::Open).await?);
        // Another client may have opened one as well. The last one is kept.
        self.kept.replace(Some(Rc::clone(&new)));
        let stream = new.stream(path).await?;
        Ok((new, stream))
    }
}

/// Returns the answers that arrive whole before the time is over, in the order of their arrival.
async fn arrived(streams: &mut [Stream], after: Duration) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let mut pending: FuturesUnordered<_> =
        streams.iter_mut().filter(|stream| !stream.is_at_end()).map(Stream::answer).collect();
    let collect = async {
        while let Some(answer) = pending.next().await {
            answers.push(answer?);
        }
        io::Result::Ok(())
    };
    select! {
        biased;
        collected = collect => collected?,
        () = moment(after) => (),
    }
    Ok(answers)
}

/// Waits for `after`. A wait of less than a millisecond lasts until what is buffered has been sent.
async fn moment(after: Duration) {
    // Timers have a resolution of milliseconds.
    if after >= Duration::from_millis(1) {
        return sleep(after).await;
    }
    for _ in 0..3 {
        yield_now().await;
    }
}
