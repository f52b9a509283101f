//! One direction of one connection: reads, holds, and passes on what the script lets pass.

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
use super::inner::Entry;
use super::performance::{End, Passage, Performance};
use super::queue::{Queue, What};
use super::traffic::Traffic;

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

pub(super) struct Relay<'a> {
    way: Way,
    from: &'a TcpStream,
    to: &'a TcpStream,
    queue: Queue,
    heard: Heard,
    /// The receiver has got its FIN.
    told: bool,
}

/// What the sender has said of its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Fin,
    Reset,
}

/// What has to happen before more can pass.
enum Need {
    /// The script has to go on, or the sender.
    News,
    /// The receiver has to read.
    Room,
    /// It is not due yet.
    Time(Instant),
}

impl<'a> Relay<'a> {
    pub(super) fn new(way: Way, from: &'a TcpStream, to: &'a TcpStream) -> Self {
        Relay { way, from, to, queue: Queue::default(), heard: Heard::Nothing, told: false }
    }

    /// Goes on until it is dropped: the script knows when a connection ends.
    pub(super) async fn run(mut self, entry: &Entry) -> Infallible {
        let mut chunk = vec![0; CHUNK];
        loop {
            let news = entry.news(); // before the look, or what happens after it would be missed
            let need = entry.look(|performance, traffic| self.pass_on(performance, traffic));
            let room = self.queue.room().min(CHUNK);
            // Whichever is dropped here has taken nothing: a read that has bytes answers in the same poll.
            select! {
                () = news => {}
                what = hear(self.from, self.heard, &mut chunk[..room]) => {
                    entry.look(|performance, traffic| self.take(what, performance, traffic));
                }
                () = writable(self.to), if matches!(need, Need::Room) => {}
                () = due(&need) => {}
            }
        }
    }

    /// Passes on what may pass.
    fn pass_on(&mut self, performance: &mut Performance, traffic: &mut Traffic) -> Need {
        if performance.take_reset(self.way) {
            self.take(What::Reset, performance, traffic);
        }
        let need = self.pass_parcels(performance, traffic);
        if performance.is_closed(self.way) && !self.told {
            self.told = true;
            // It fails if the receiver has gone, who need not be told then.
            drop(SockRef::from(self.to).shutdown(Shutdown::Write));
        }
        need
    }

    fn pass_parcels(&mut self, performance: &mut Performance, traffic: &mut Traffic) -> Need {
        loop {
            let Some(parcel) = self.queue.first() else { return Need::News };
            let passage = match parcel.what {
                What::Reset => performance.passage_of_reset(self.way),
                What::Bytes { .. } | What::Fin => performance.passage(self.way),
            };
            let most = match passage {
                Passage::Open(most) => usize::try_from(most).unwrap_or(usize::MAX),
                Passage::Shut => return Need::News,
                Passage::Swallowing => {
                    traffic.swallowed += self.queue.swallow() as u64;
                    continue;
                }
            };
            if let Some(due) = parcel.due(performance.delay(self.way)) {
                return Need::Time(due);
            }
            match &parcel.what {
                What::Fin => {
                    performance.close(self.way);
                    self.queue.swallow();
                }
                What::Reset => performance.end(End::Reset),
                What::Bytes { bytes, written } => {
                    let bytes = &bytes[*written..];
                    match self.to.try_write(&bytes[..bytes.len().min(most)]) {
                        Ok(count) => {
                            self.queue.wrote(count);
                            *self.written(traffic) += count as u64;
                            performance.passed(self.way, count as u64);
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Need::Room,
                        Err(_) => performance.lost_receiver(self.way),
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

    /// Takes in what the sender has said.
    fn take(&mut self, what: What, performance: &mut Performance, traffic: &mut Traffic) {
        let (read, left) = match self.way {
            Way::ToServer => (&mut traffic.from_client, &mut traffic.left_by_client),
            Way::ToClient => (&mut traffic.from_server, &mut traffic.left_by_server),
        };
        let last = match &what {
            What::Bytes { bytes, .. } => {
                *read += bytes.len() as u64;
                Heard::Nothing
            }
            What::Fin => Heard::Fin,
            What::Reset => Heard::Reset,
        };
        if self.heard == Heard::Nothing && last != Heard::Nothing {
            *left += 1;
            performance.spent(self.way);
        }
        self.heard = last;
        self.queue.push(what);
    }
}

/// The next thing that the sender says, if there is room for it.
async fn hear(from: &TcpStream, heard: Heard, chunk: &mut [u8]) -> What {
    match heard {
        Heard::Nothing if chunk.is_empty() => pending().await,
        Heard::Nothing => match read(from, chunk).await {
            Ok(0) => What::Fin,
            Ok(count) => What::Bytes { bytes: chunk[..count].to_vec(), written: 0 },
            Err(_) => What::Reset,
        },
        // Who has said its last may still go with a reset, and a read would not tell.
        Heard::Fin => match from.ready(Interest::ERROR).await {
            Ok(_) => What::Reset,
            Err(_) => pending().await,
        },
        Heard::Reset => pending().await,
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
    // It fails only where the runtime ends, and this task with it.
    if to.writable().await.is_err() {
        pending().await
    }
}

async fn due(need: &Need) {
    match need {
        Need::Time(due) => sleep_until(*due).await,
        Need::News | Need::Room => pending().await,
    }
}
