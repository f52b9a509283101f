//! Connections to the backend, as a resource.
use std::io;
use std::net::SocketAddr;

use reqscope::{Error, Health, Resource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections to the backend.
pub(crate) struct Echo(pub(crate) SocketAddr);

pub(crate) struct Connection {
    stream: TcpStream,
    /// An exchange was cut, or failed, before its echo was read: the next user would read it as theirs.
    cut: bool,
}

impl Connection {
    /// Sends `bytes` and returns their echo.
    pub(crate) async fn echo(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.cut = true; // stays set if the future is dropped at one of these awaits
        self.stream.write_all(bytes).await?;
        let mut echo = vec![0; bytes.len()];
        self.stream.read_exact(&mut echo).await?;
        self.cut = false;
        Ok(echo)
    }
}

impl Resource for Echo {
    type Handle = Connection;
    type Cause = io::Error;

    async fn acquire(&self) -> Result<Connection, Error<io::Error>> {
        let mut connection = Connection { stream: TcpStream::connect(self.0).await?, cut: false };
        connection.echo(b"?").await?; // a backend that hangs is connected to all the same, by the kernel
        Ok(connection)
    }

    async fn validate(&self, connection: &mut Connection) -> Result<(), Error<io::Error>> {
        connection.echo(b"?").await?;
        Ok(())
    }

    fn probe(&self, connection: &Connection) -> Health {
        if connection.cut { Health::Dead } else { Health::Ready }
    }
}
