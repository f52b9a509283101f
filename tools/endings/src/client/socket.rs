use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

/// A descriptor of a client's socket, in addition to the one of the HTTP client.
pub(crate) struct Socket(TcpStream);

impl Socket {
    /// Connects to the server.
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        // The kernel completes the handshake before the server accepts, so this does not wait for the server.
        let socket = TcpStream::connect(address)?;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Socket(socket))
    }

    /// Makes the kernel drop everything that arrives from now on, so that it acknowledges nothing. On systems without
    /// such filters the client is only silent.
    pub(crate) fn vanish(&self) -> anyhow::Result<Socket> {
        #[cfg(target_os = "linux")]
        {
            const RETURN: u16 = 0x06;
            SockRef::from(&self.0).attach_filter(&[socket2::SockFilter::new(RETURN, 0, 0, 0)])?;
        }
        Ok(Socket(self.0.try_clone()?))
    }

    /// Returns a descriptor for the HTTP client.
    pub(crate) fn stream(&self) -> anyhow::Result<tokio::net::TcpStream> {
        Ok(tokio::net::TcpStream::from_std(self.0.try_clone()?)?)
    }

    /// Sends bytes at once, bypassing the HTTP client.
    pub(crate) fn inject(&self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok((&self.0).write_all(bytes)?)
    }

    /// Closes both directions.
    pub(crate) fn shut_down(&self) -> anyhow::Result<()> {
        Ok(self.0.shutdown(Shutdown::Both)?)
    }

    /// Closes the sending direction.
    pub(crate) fn shut_down_write(&self) -> anyhow::Result<()> {
        Ok(self.0.shutdown(Shutdown::Write)?)
    }

    /// Lets the close of the last descriptor send a reset; unsent bytes are lost.
    pub(crate) fn reset_on_close(&self) -> anyhow::Result<()> {
        Ok(SockRef::from(&self.0).set_linger(Some(Duration::ZERO))?)
    }
}
