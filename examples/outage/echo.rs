//! Connections to the backend, as a resource.
use std::io;
use std::net::SocketAddr;

use reqscope::{Error, Health, Resource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections to the backend.
pub(crate) struct Echo(pub(crate) SocketAddr);

pub(crate) struct Line {
    stream: TcpStream,
    /// It was cut or has failed between a question and its echo: whoever asks next would hear the wrong one.
    cut: bool,
}

impl Line {
    pub(crate) async fn echo(&mut self, said: &[u8]) -> io::Result<Vec<u8>> {
        self.cut = true; // dropped at one of these awaits, it stays so
        self.stream.write_all(said).await?;
        let mut heard = vec![0; said.len()];
        self.stream.read_exact(&mut heard).await?;
        self.cut = false;
        Ok(heard)
    }
}

impl Resource for Echo {
    type Handle = Line;
    type Cause = io::Error;

    async fn acquire(&self) -> Result<Line, Error<io::Error>> {
        let mut line = Line { stream: TcpStream::connect(self.0).await?, cut: false };
        line.echo(b"?").await?; // the kernel accepts for a backend that hangs
        Ok(line)
    }

    async fn validate(&self, line: &mut Line) -> Result<(), Error<io::Error>> {
        line.echo(b"?").await?;
        Ok(())
    }

    fn probe(&self, line: &Line) -> Health {
        if line.cut { Health::Dead } else { Health::Ready }
    }
}
