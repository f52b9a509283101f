/// The counters of a [`FaultProxy`](crate::FaultProxy).
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
    /// Accepted connections. The first one has the number 0.
    ///
    /// While the port is [closed](crate::FaultProxy::refuse) the system refuses connections, and they are not counted.
    pub accepted: usize,
    /// Accepted connections that are open: they still have a socket.
    ///
    /// A connection in a black hole is open until the proxy is dropped or sets another fault, because no end may
    /// notice.
    pub open: usize,
    /// Accepted connections whose server could not be reached. Their clients were reset.
    pub unreachable: usize,
    /// Accepted connections whose client has closed: its FIN or its reset was read.
    pub left_by_client: usize,
    /// Accepted connections whose server has closed: its FIN or its reset was read.
    pub left_by_server: usize,
    /// Bytes read from clients. Those that were neither written to servers nor swallowed are held, or were lost at the
    /// end.
    pub from_client: u64,
    /// Bytes read from servers, likewise.
    pub from_server: u64,
    /// Bytes written to servers.
    pub to_server: u64,
    /// Bytes written to clients.
    pub to_client: u64,
    /// Bytes read and not forwarded: in a black hole, or after a half-close.
    pub swallowed: u64,
}
