//! The pool's callers, and what it is a pool of.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::{Error, Health, Pool, Resource};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::backend::{connect, ping};
use super::log::Log;

/// Of a caller between an answer and its next question.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Connections {
    pub(super) address: SocketAddr,
    pub(super) log: Arc<Log>,
}

impl Resource for Connections {
    type Handle = TcpStream;
    type Cause = io::Error;

    async fn acquire(&self) -> Result<TcpStream, Error<io::Error>> {
        self.log.connect();
        Ok(connect(self.address).await?)
    }

    async fn validate(&self, stream: &mut TcpStream) -> Result<(), Error<io::Error>> {
        Ok(ping(stream).await?)
    }

    fn probe(&self, stream: &TcpStream) -> Health {
        // A backend that is asked nothing says nothing, but it can hang up.
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Health::Ready,
            _ => Health::Dead,
        }
    }
}

/// A caller, who tries again and again.
pub(super) async fn call(pool: Arc<Pool<Connections>>, log: Arc<Log>) {
    sleep(PAUSE.mul_f64(fastrand::f64())).await;
    while !log.is_closed() {
        let asked = Instant::now();
        let answer = pool.get().await;
        log.answer(asked, asked.elapsed());
        if let Ok(mut stream) = answer {
            // One that was cut off is dropped, so that the pool proves it.
            if ping(&mut stream).await.is_ok() {
                log.good();
                pool.put(stream);
            }
        }
        sleep(PAUSE).await;
    }
}

/// Somebody who pauses as long, and does nothing else.
pub(super) async fn watch_timer(log: Arc<Log>) {
    while !log.is_closed() {
        let begun = Instant::now();
        sleep(PAUSE).await;
        log.lag(begun.elapsed().saturating_sub(PAUSE));
    }
}
