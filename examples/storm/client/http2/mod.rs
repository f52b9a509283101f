//! Clients over HTTP/2: a connection that they share, and others for who takes a whole connection along.
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

use crate::client::hangup::{PATIENCE, hang_up, timed_out};
use crate::client::outcome::{Answer, Seen};
use crate::client::plan::{Fate, Part, STREAMED};
use connection::{Connection, Stream, Window};

mod connection;
mod frames;

/// How many clients share a connection, as far as they do not take it along when they go.
pub(crate) const STREAMS: u64 = 4;

/// Plays the parts that `next` hands out until there are no more, with the clients of these places on this thread.
pub(crate) fn play(
    target: SocketAddr,
    places: Range<u64>,
    next: impl Fn(u64) -> Option<Part>,
    record: impl FnMut(&Part, io::Result<Seen>),
) -> io::Result<()> {
    let clients = Clients { target, kept: RefCell::default() };
    let record = RefCell::new(record);
    let play = async |place| {
        while let Some(part) = next(place) {
            let seen = clients.play(&part).await;
            record.borrow_mut()(&part, seen);
        }
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(join_all(places.map(play)));
    Ok(())
}

struct Clients {
    target: SocketAddr,
    /// What all streams share that end alone.
    kept: RefCell<Option<Rc<Connection>>>,
}

impl Clients {
    async fn play(&self, part: &Part) -> io::Result<Seen> {
        let playing = async {
            match part.fate {
                Fate::Complete => self.complete(part).await,
                Fate::ResetStream => self.reset_stream(part).await,
                Fate::MidBody => self.reset_stream_in_mid_body(part).await,
                Fate::Fin | Fate::Reset => self.hang_up(part).await,
                Fate::ClosedWindow => self.hang_up_behind_a_closed_window(part).await,
                Fate::GoAway | Fate::GoAwayFin => self.go_away(part).await,
                Fate::HalfRequest => self.half_request(part).await,
                Fate::HalfClose | Fate::Pipeline => unreachable!("HTTP/2 has neither, and draws no such part"),
            }
        };
        timeout(PATIENCE, playing).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn complete(&self, part: &Part) -> io::Result<Seen> {
        let begun = Instant::now();
        let (_connection, mut stream) = self.stream(part.paths[0]).await?;
        Ok(Seen::whole(stream.answer().await?, begun.elapsed()))
    }

    async fn reset_stream(&self, part: &Part) -> io::Result<Seen> {
        let (_connection, mut stream) = self.stream(part.paths[0]).await?;
        let answers = arrived(std::slice::from_mut(&mut stream), part.after).await?;
        stream.reset();
        Ok(Seen { answers, ..Seen::default() })
    }

    async fn reset_stream_in_mid_body(&self, part: &Part) -> io::Result<Seen> {
        let (_connection, mut stream) = self.stream(part.paths[0]).await?;
        let status = stream.status().await?;
        stream.read((part.share * STREAMED) as usize).await?;
        stream.reset();
        Ok(Seen::part(Answer { path: part.paths[0], status, body: Vec::new() }))
    }

    async fn hang_up(&self, part: &Part) -> io::Result<Seen> {
        let connection = Connection::open(self.target, Window::Open).await?;
        let mut streams = connection.streams(&part.paths).await?;
        let answers = arrived(&mut streams, part.after).await?;
        connection.hang_up(part.hangup).await?;
        Ok(Seen { answers, ..Seen::default() })
    }

    async fn hang_up_behind_a_closed_window(&self, part: &Part) -> io::Result<Seen> {
        let connection = Connection::open(self.target, Window::Closed).await?;
        let mut streams = connection.streams(&part.paths).await?;
        let status = streams[0].status().await?;
        moment(part.after).await;
        if part.share < 0.5 {
            connection.hang_up(part.hangup).await?;
        } else {
            streams.iter_mut().for_each(Stream::reset);
            // h2 ends a connection in good order when nobody has a stream of it any more.
            drop(streams);
            connection.end().await;
        }
        Ok(Seen::part(Answer { path: part.paths[0], status, body: Vec::new() }))
    }

    async fn go_away(&self, part: &Part) -> io::Result<Seen> {
        let connection = Connection::open(self.target, Window::Open).await?;
        let mut streams = connection.streams(&part.paths).await?;
        let mut answers = arrived(&mut streams, part.after).await?;
        connection.go_away()?;
        if part.fate == Fate::GoAwayFin {
            connection.hang_up(part.hangup).await?;
        } else {
            answers.extend(arrived(&mut streams, PATIENCE).await?);
        }
        Ok(Seen { answers, ..Seen::default() })
    }

    async fn half_request(&self, part: &Part) -> io::Result<Seen> {
        let mut socket = TcpStream::connect_timeout(&self.target, PATIENCE)?;
        let whole = frames::request();
        let sent = 1 + (part.share * (whole.len() - 1) as f64) as usize;
        socket.write_all(&whole[..sent])?;
        moment(part.after).await;
        hang_up(socket, part.hangup)?;
        Ok(Seen::default())
    }

    /// A stream on the connection that is kept; on a new one if the server has ended it.
    async fn stream(&self, path: &'static str) -> io::Result<(Rc<Connection>, Stream)> {
        let kept = self.kept.borrow().clone();
        if let Some(kept) = kept {
            if let Ok(stream) = kept.stream(path).await {
                return Ok((kept, stream));
            }
        }
        let new = Rc::new(Connection::open(self.target, Window::Open).await?);
        // Another stream may have found the same, and opened one too: the last one is kept.
        self.kept.replace(Some(Rc::clone(&new)));
        let stream = new.stream(path).await?;
        Ok((new, stream))
    }
}

/// The answers that come whole until the time is over, in the order in which they do.
async fn arrived(streams: &mut [Stream], after: Duration) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let mut coming: FuturesUnordered<_> =
        streams.iter_mut().filter(|stream| !stream.is_at_end()).map(Stream::answer).collect();
    let collect = async {
        while let Some(answer) = coming.next().await {
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

/// Waits so long. The shortest waits are as long as it takes to send what there is to send.
async fn moment(after: Duration) {
    // A timer has a resolution of milliseconds.
    if after >= Duration::from_millis(1) {
        return sleep(after).await;
    }
    for _ in 0..3 {
        yield_now().await;
    }
}
