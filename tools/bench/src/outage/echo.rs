//! A minimal server: it greets with a byte, and echoes bytes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Health, Resource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, tcp};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use super::log::Log;
use super::{Ask, Backend, Client};

const BYTE: u8 = b'.';
/// Below the ports that the kernel assigns to clients. On one of those, a client that retries while no server listens
/// is eventually connected to itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

pub(super) struct Echo {
    pub(super) address: SocketAddr,
    /// The runtime it runs on.
    runtime: Handle,
    serving: Option<JoinHandle<io::Result<()>>>,
}

impl Echo {
    /// Starts a server.
    pub(super) fn start(runtime: Handle) -> io::Result<Echo> {
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", fastrand::u16(PORTS))) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => break bound?,
            }
        };
        let mut echo = Echo { address: listener.local_addr()?, runtime, serving: None };
        echo.serve(listener)?;
        Ok(echo)
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
    // Dropping it with this future aborts all clients.
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

impl Backend for Echo {
    type Connections = Connections;

    const DOWN: Duration = Duration::from_millis(300);
    const DOWN_SPREAD: Duration = Duration::from_millis(50);

    async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            assert!(serving.await.is_err(), "it has ended by itself");
        }
        Ok(())
    }

    async fn restart(&mut self) -> anyhow::Result<()> {
        Ok(self.serve(TcpListener::bind(self.address)?)?)
    }

    fn client(&self) -> impl Client {
        self.address
    }
}

impl Client for SocketAddr {
    async fn is_answered(&self) -> bool {
        match connect(*self).await {
            Ok(mut stream) => ping(&mut stream).await.is_ok(),
            Err(_) => false,
        }
    }
}

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
        // A backend sends nothing without a question, but it can hang up.
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Health::Ready,
            _ => Health::Dead,
        }
    }
}

impl Ask for Connections {
    async fn ask(stream: &mut TcpStream) -> bool {
        ping(stream).await.is_ok()
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.read_u8().await?;
    Ok(stream)
}

/// Asks a question and waits for its answer.
async fn ping(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&[BYTE]).await?;
    stream.read_u8().await?;
    Ok(())
}
