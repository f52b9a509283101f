//! One direction of one connection: reads, holds, and forwards what the script lets pass.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::Shutdown;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::direction::Way;
use super::inner::Registration;
use super::playback::{Close, Passage, Playback};
use super::queue::{Content, Queue};
use super::traffic::Traffic;

/// How many bytes are read at once.
const CHUNK: usize = 16 * 1024;

pub(super) struct Relay<'a> {
    way: Way,
    from: &'a TcpStream,
    to: &'a TcpStream,
    queue: Queue,
    received: Received,
    /// Whether the receiver was sent its FIN.
    fin_sent: bool,
}

/// How the sender has ended, if it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Received {
    Nothing,
    Fin,
    Reset,
}

/// What has to happen before more can pass.
enum Need {
    /// A change of the script, or more from the sender.
    Change,
    /// A read by the receiver.
    Room,
    /// A delay.
    Time(Instant),
}

impl<'a> Relay<'a> {
    pub(super) fn new(way: Way, from: &'a TcpStream, to: &'a TcpStream) -> Self {
        Relay { way, from, to, queue: Queue::default(), received: Received::Nothing, fin_sent: false }
    }

    /// Relays until it is dropped: the script decides when a connection ends.
    pub(super) async fn run(mut self, registration: &Registration) -> Infallible {
        let mut chunk = vec![0; CHUNK];
        loop {
            let changed = registration.changed(); // before the check, or a change after it would be missed
            let need = registration.look(|playback, traffic| self.pass_on(playback, traffic));
            let room = self.queue.room().min(CHUNK);
            // Dropping a branch loses nothing: a read that has bytes returns them in the same poll.
            select! {
                () = changed => {}
                content = receive(self.from, self.received, &mut chunk[..room]) => {
                    registration.look(|playback, traffic| self.take(content, playback, traffic));
                }
                () = writable(self.to), if matches!(need, Need::Room) => {}
                () = due(&need) => {}
            }
        }
    }

    /// Forwards what may pass.
    fn pass_on(&mut self, playback: &mut Playback, traffic: &mut Traffic) -> Need {
        if playback.take_reset(self.way) {
            self.take(Content::Reset, playback, traffic);
        }
        let need = self.pass_parcels(playback, traffic);
        if playback.is_closed(self.way) && !self.fin_sent {
            self.fin_sent = true;
            // An error means that the receiver is gone, and needs no FIN.
            drop(SockRef::from(self.to).shutdown(Shutdown::Write));
        }
        need
    }

    fn pass_parcels(&mut self, playback: &mut Playback, traffic: &mut Traffic) -> Need {
        loop {
            let Some(parcel) = self.queue.first() else { return Need::Change };
            let passage = match parcel.content {
                Content::Reset => playback.passage_of_reset(self.way),
                Content::Bytes { .. } | Content::Fin => playback.passage(self.way),
            };
            let most = match passage {
                Passage::Open(most) => usize::try_from(most).unwrap_or(usize::MAX),
                Passage::Shut => return Need::Change,
                Passage::Swallowing => {
                    traffic.swallowed += self.queue.swallow() as u64;
                    continue;
                }
            };
            if let Some(due) = parcel.due(playback.delay(self.way)) {
                return Need::Time(due);
            }
            match &parcel.content {
                Content::Fin => {
                    playback.close(self.way);
                    self.queue.swallow();
                }
                Content::Reset => playback.end(Close::Reset),
                Content::Bytes { bytes, written } => {
                    let bytes = &bytes[*written..];
                    match self.to.try_write(&bytes[..bytes.len().min(most)]) {
                        Ok(count) => {
                            self.queue.wrote(count);
                            *self.written(traffic) += count as u64;
                            playback.passed(self.way, count as u64);
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Need::Room,
                        Err(_) => playback.lost_receiver(self.way),
                    }
                }
            }
        }
    }

    fn written<'t>(&self, traffic: &'t mut Traffic) -> &'t mut u64 {
        match self.way {
            Way::ToServer => &mut traffic.to_server,
            Way::ToClient => &mut traffic.to_client,
        }
    }

    /// Adds what the sender has sent to the queue.
    fn take(&mut self, content: Content, playback: &mut Playback, traffic: &mut Traffic) {
        let (read, left) = match self.way {
            Way::ToServer => (&mut traffic.from_client, &mut traffic.left_by_client),
            Way::ToClient => (&mut traffic.from_server, &mut traffic.left_by_server),
        };
        let last = match &content {
            Content::Bytes { bytes, .. } => {
                *read += bytes.len() as u64;
                Received::Nothing
            }
            Content::Fin => Received::Fin,
            Content::Reset => Received::Reset,
        };
        if self.received == Received::Nothing && last != Received::Nothing {
            *left += 1;
            playback.sender_closed(self.way);
        }
        self.received = last;
        self.queue.push(content);
    }
}

/// Receives what the sender sends next, if there is room for it.
async fn receive(from: &TcpStream, received: Received, chunk: &mut [u8]) -> Content {
    match received {
        Received::Nothing if chunk.is_empty() => pending().await,
        Received::Nothing => match read(from, chunk).await {
            Ok(0) => Content::Fin,
            Ok(count) => Content::Bytes { bytes: chunk[..count].to_vec(), written: 0 },
            Err(_) => Content::Reset,
        },
        // After its FIN the sender may still reset, which a read would not report.
        Received::Fin => match from.ready(Interest::ERROR).await {
            Ok(_) => Content::Reset,
            Err(_) => pending().await,
        },
        Received::Reset => pending().await,
    }
}

async fn read(from: &TcpStream, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        from.readable().await?;
        match from.try_read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

async fn writable(to: &TcpStream) {
    // An error means that the runtime shuts down, and this task with it.
    if to.writable().await.is_err() {
        pending().await
    }
}

async fn due(need: &Need) {
    match need {
        Need::Time(due) => sleep_until(*due).await,
        Need::Change | Need::Room => pending().await,
    }
}
