use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reqscope_testkit::{FaultProxy, Traffic};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A test that waits longer is stuck.
pub(super) const BOUND: Duration = Duration::from_secs(60);

/// How a stream ended, for its reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Fin,
    Reset,
}

/// A proxy in front of a listener of the test.
pub(super) struct Net {
    pub(super) proxy: FaultProxy,
    server: TcpListener,
}

impl Net {
    pub(super) async fn new() -> Net {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = FaultProxy::start(server.local_addr().unwrap()).unwrap();
        Net { proxy, server }
    }

    /// Returns both ends of a new connection.
    pub(super) async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = self.client().await;
        (client, self.accept().await)
    }

    pub(super) async fn client(&self) -> TcpStream {
        let accepted = self.proxy.traffic().accepted;
        let client = TcpStream::connect(self.proxy.addr()).await.unwrap();
        self.until(|traffic| traffic.accepted > accepted).await;
        client
    }

    pub(super) async fn accept(&self) -> TcpStream {
        timeout(BOUND, self.server.accept()).await.expect("the proxy connects").unwrap().0
    }

    #[track_caller]
    pub(super) fn until(&self, condition: impl FnMut(&Traffic) -> bool) -> impl Future<Output = Traffic> {
        self.proxy.until(BOUND, condition)
    }

    /// Waits until the proxy has closed its sockets.
    pub(super) async fn empty(&self) {
        self.until(|traffic| traffic.open == 0).await;
    }
}

/// Sends bytes, and expects them to arrive.
pub(super) async fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).await.unwrap();
    let mut arrived = vec![0; bytes.len()];
    timeout(BOUND, to.read_exact(&mut arrived)).await.expect("they arrive").unwrap();
    assert_eq!(arrived, bytes);
}

/// Reads to the end.
pub(super) async fn rest(stream: &mut TcpStream) -> (Vec<u8>, Seen) {
    let mut bytes = Vec::new();
    let end = timeout(BOUND, stream.read_to_end(&mut bytes)).await.expect("it ends");
    match end {
        Ok(_) => (bytes, Seen::Fin),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (bytes, Seen::Reset),
        Err(error) => panic!("neither a FIN nor a reset: {error}"),
    }
}

/// Reads the end, and expects no bytes before it.
pub(super) async fn end(stream: &mut TcpStream) -> Seen {
    let (bytes, end) = rest(stream).await;
    assert_eq!(bytes, [], "bytes passed before the end");
    end
}

/// Connects, where the connection is ended at once. The reset may arrive before the connect returns.
pub(super) async fn meets(addr: SocketAddr) -> Seen {
    match TcpStream::connect(addr).await {
        Ok(mut client) => end(&mut client).await,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Seen::Reset,
        Err(error) => panic!("neither accepted nor reset: {error}"),
    }
}

pub(super) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Starts a proxy in front of a server that answers each line in capitals.
pub(super) async fn before_a_line_server() -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_lines(stream));
        }
    });
    proxy
}

async fn answer_lines(mut stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        writer.write_all(format!("{}\n", line.to_uppercase()).as_bytes()).await?;
    }
    Ok(())
}

/// Sends a line to the line server, and reads its answer.
pub(super) async fn ask(stream: &mut TcpStream, question: &str) -> io::Result<String> {
    stream.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = String::new();
    timeout(BOUND, BufReader::new(stream).read_line(&mut answer)).await.expect("it answers or ends")?;
    if answer.ends_with('\n') { Ok(answer) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
