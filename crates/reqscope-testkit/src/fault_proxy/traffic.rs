/// What has gone through a [`FaultProxy`](crate::FaultProxy).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use reqscope_testkit::FaultProxy;
/// use std::time::Duration;
/// use tokio::net::{TcpListener, TcpStream};
///
/// let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
/// let proxy = FaultProxy::start(server.local_addr().unwrap()).unwrap();
/// let client = TcpStream::connect(proxy.addr()).await.unwrap();
/// drop(client);
///
/// let bound = Duration::from_secs(5);
/// let traffic = proxy.until(bound, |traffic| traffic.left_by_client == 1).await;
/// assert_eq!((traffic.accepted, traffic.to_server, traffic.to_client), (1, 0, 0));
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Connections that were accepted. The first is number 0.
    ///
    /// What the closed port [refuses](crate::FaultProxy::refuse) is refused by the system, and counted nowhere.
    pub accepted: usize,
    /// Those of them that still have a socket.
    ///
    /// One in a black hole has them until the proxy is dropped or it is fin_sent otherwise, as nobody may hear of its
    /// end.
    pub open: usize,
    /// Those of them that could not be carried on to the server, because it refused. Their clients were reset.
    pub unreachable: usize,
    /// Those of them whose client has closed: its FIN or its reset was read.
    pub left_by_client: usize,
    /// Those of them whose server has closed: its FIN or its reset was read.
    pub left_by_server: usize,
    /// Bytes read from clients. What was not written to servers or swallowed since is held, or was lost at an end.
    pub from_client: u64,
    /// Bytes read from servers, likewise.
    pub from_server: u64,
    /// Bytes written to servers.
    pub to_server: u64,
    /// Bytes written to clients.
    pub to_client: u64,
    /// Bytes read and forwarded to nobody: in a black hole, or after a half-close.
    pub swallowed: u64,
}
