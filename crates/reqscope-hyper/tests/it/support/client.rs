use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::BOUND;

/// A client that does things with its socket that no HTTP library does.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Client(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Closes in good order.
    pub(crate) fn fin(self) {
        drop(self);
    }

    /// Closes with a reset.
    pub(crate) fn rst(self) {
        self.0.set_zero_linger().unwrap();
    }

    /// Shuts down the write side, as a client may that waits for its response.
    pub(crate) async fn shut_down_write(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// Reads until `end` has arrived, and returns everything that was read.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut got = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&got).contains(end) {
                if self.0.read_buf(&mut got).await.unwrap() == 0 {
                    panic!("the server closed after {:?}", String::from_utf8_lossy(&got));
                }
            }
        };
        let in_time = timeout(BOUND, read).await.is_ok();
        let got = String::from_utf8_lossy(&got).into_owned();
        assert!(in_time, "no {end:?} in {got:?}");
        got
    }

    /// Reads until the server closes or an error occurs.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        let read = async { while let Ok(1..) = self.0.read_buf(&mut got).await {} };
        timeout(BOUND, read).await.expect("the server closes the connection");
        got
    }
}
