use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

/// A second descriptor of a client's socket, beside the one that an HTTP client has.
pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        // The kernel takes it in before the server accepts it, so this does not wait for anybody.
        let socket = TcpStream::connect(address)?;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Socket(socket))
    }

    /// Its kernel drops all that comes from now on, and so answers nothing, neither a ping nor a packet. Where there are no
    /// such filters, it is only silent.
    pub(crate) fn vanish(&self) -> anyhow::Result<Socket> {
        #[cfg(target_os = "linux")]
        {
            const RETURN: u16 = 0x06;
            SockRef::from(&self.0).attach_filter(&[socket2::SockFilter::new(RETURN, 0, 0, 0)])?;
        }
        Ok(Socket(self.0.try_clone()?))
    }

    /// The descriptor for the HTTP client.
    pub(crate) fn stream(&self) -> anyhow::Result<tokio::net::TcpStream> {
        Ok(tokio::net::TcpStream::from_std(self.0.try_clone()?)?)
    }

    /// Sends these bytes past the HTTP client, at once.
    pub(crate) fn inject(&self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok((&self.0).write_all(bytes)?)
    }

    pub(crate) fn shut_down(&self) -> anyhow::Result<()> {
        Ok(self.0.shutdown(Shutdown::Both)?)
    }

    pub(crate) fn shut_down_write(&self) -> anyhow::Result<()> {
        Ok(self.0.shutdown(Shutdown::Write)?)
    }

    /// The last descriptor that is closed sends a reset, and what was unsent is lost.
    pub(crate) fn reset_on_close(&self) -> anyhow::Result<()> {
        Ok(SockRef::from(&self.0).set_linger(Some(Duration::ZERO))?)
    }
}
