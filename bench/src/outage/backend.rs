//! A server that can be stopped and started again at its address: it greets with a byte, and echoes bytes.

use std::io;
use std::net::{SocketAddr, TcpListener};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, tcp};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

const BYTE: u8 = b'.';
/// Below those that the kernel gives to clients. With one of theirs, a client that tries it again and again while nobody
/// listens there is connected to itself some day.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

pub(super) struct Backend {
    pub(super) address: SocketAddr,
    /// Where it runs.
    runtime: Handle,
    serving: Option<JoinHandle<io::Result<()>>>,
}

impl Backend {
    /// One that serves.
    pub(super) fn start(runtime: Handle) -> io::Result<Backend> {
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", fastrand::u16(PORTS))) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => break bound?,
            }
        };
        let mut backend = Backend { address: listener.local_addr()?, runtime, serving: None };
        backend.serve(listener)?;
        Ok(backend)
    }

    /// Resets all connections, and refuses new ones.
    pub(super) async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            assert!(serving.await.is_err(), "it serves for ever");
        }
    }

    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.serve(TcpListener::bind(self.address)?)
    }

    fn serve(&mut self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let _entered = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.serving = Some(self.runtime.spawn(accept(listener)));
        Ok(())
    }
}

async fn accept(listener: tokio::net::TcpListener) -> io::Result<()> {
    // Dropped with this future, it aborts them all.
    let mut clients = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        clients.spawn(echo(stream));
        while clients.try_join_next().is_some() {}
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_zero_linger()?;
    stream.write_all(&[BYTE]).await?;
    let (mut questions, mut answers): (tcp::ReadHalf<'_>, tcp::WriteHalf<'_>) = stream.split();
    tokio::io::copy(&mut questions, &mut answers).await?;
    Ok(())
}

/// A client's way in.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.read_u8().await?;
    Ok(stream)
}

/// A question and its answer.
pub(super) async fn ping(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&[BYTE]).await?;
    stream.read_u8().await?;
    Ok(())
}
