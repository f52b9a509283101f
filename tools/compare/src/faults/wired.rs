//! A backend whose handles are TCP connections to a server that answers a line with a line.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::backend::{Backend, Refused};

const ANSWER: &[u8] = b"pong\n";

/// How long a ping waits for its answer, as the ping of a driver does. So it is the same for contenders that bound a
/// validation and for those that do not.
pub(super) const PING_TIMEOUT: Duration = Duration::from_millis(200);

/// Starts the server.
pub(super) async fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(answer(connection));
        }
    });
    Ok(addr)
}

async fn answer(connection: TcpStream) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut line = String::new();
    while connection.read_line(&mut line).await? > 0 {
        connection.write_all(ANSWER).await?;
        line.clear();
    }
    Ok(())
}

type Connection = tokio::sync::Mutex<TcpStream>;

pub(super) struct Wired {
    server: SocketAddr,
    pings: AtomicU64,
    connections: Mutex<HashMap<u64, Weak<Connection>>>,
}

pub(super) struct Handle {
    id: u64,
    connection: Arc<Connection>,
}

impl Wired {
    pub(super) fn new(server: SocketAddr) -> Arc<Wired> {
        Arc::new(Wired { server, pings: AtomicU64::new(0), connections: Mutex::default() })
    }

    /// Returns how many pings were sent.
    pub(super) fn pings(&self) -> u64 {
        self.pings.load(Ordering::SeqCst)
    }

    /// Uses a handle.
    pub(super) async fn use_one(&self, id: u64) -> Result<(), Refused> {
        let connection = self.connections.lock().get(&id).and_then(Weak::upgrade);
        ping(&*connection.ok_or_else(|| Refused("it was dropped".to_owned()))?).await
    }
}

async fn ping(connection: &Connection) -> Result<(), Refused> {
    let asked = async {
        let mut connection = connection.lock().await;
        connection.write_all(b"ping\n").await?;
        let mut answer = [0; ANSWER.len()];
        connection.read_exact(&mut answer).await
    };
    timeout(PING_TIMEOUT, asked).await.map_err(Refused::by)?.map(drop).map_err(Refused::by)
}

impl Backend for Wired {
    type Handle = Handle;

    async fn create(&self) -> Result<Handle, Refused> {
        let connection = Arc::new(Connection::new(TcpStream::connect(self.server).await.map_err(Refused::by)?));
        // The proxy has accepted a connection only when it has answered.
        ping(&connection).await?;
        let mut connections = self.connections.lock();
        let id = connections.len() as u64;
        connections.insert(id, Arc::downgrade(&connection));
        Ok(Handle { id, connection })
    }

    fn is_broken(&self, _object: &Handle) -> bool {
        false
    }

    async fn validate(&self, handle: &Handle) -> Result<(), Refused> {
        self.pings.fetch_add(1, Ordering::SeqCst);
        ping(&handle.connection).await
    }

    async fn release(&self, handle: Handle) {
        drop(handle);
    }

    fn id(handle: &Handle) -> u64 {
        handle.id
    }
}
