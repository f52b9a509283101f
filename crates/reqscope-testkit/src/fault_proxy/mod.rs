mod direction;
mod script;
mod traffic;
mod plan;
mod playback;
mod queue;
mod listener;
mod inner;
mod relay;
mod connection;
mod connections;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use connections::Which;
use inner::Inner;
use listener::Listener;
use plan::Plan;

pub use connections::Connections;
pub use direction::Direction;
pub use script::Script;
pub use traffic::Traffic;

/// How long to wait after a failed accept, which fails when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A TCP proxy in front of a real server, which does to connections what networks and servers do, by script.
///
/// Without a fault it forwards everything faithfully: a FIN as a FIN, a reset as a reset, and a receiver that does not
/// read slows the sender down. Faults are set for some of its connections ([`open`](FaultProxy::open),
/// [`coming`](FaultProxy::coming), [`all`](FaultProxy::all), [`next`](FaultProxy::next), [`nth`](FaultProxy::nth)), by
/// hand or as a [`Script`]. This is what both ends see:
///
/// | fault | client and server | bytes in transit |
/// |---|---|---|
/// | [`cut`](Connections::cut) | end of file; an error on a later write | lost |
/// | [`reset`](Connections::reset) | `ConnectionReset` | lost |
/// | [`stall`](Connections::stall) | nothing | arrive after [`heal`](Connections::heal) |
/// | [`black_hole`](Connections::black_hole) | nothing, permanently | lost, as are all later ones |
/// | [`delay`](Connections::delay) | the same, later | arrive |
/// | [`half_close`](Connections::half_close) | receiver: end of file; sender: nothing | lost in that direction |
/// | [`refuse`](FaultProxy::refuse) | `ConnectionRefused`, for new clients | those of open connections pass |
///
/// # Notes
///
/// - A client's connect returns a moment before the proxy has accepted the connection. Until the first answer, wait
///   with [`until`](FaultProxy::until) before you treat the connection as open.
/// - A client that is reset at once may get the error from its connect or from its first read.
/// - If the server cannot be reached, the client is reset, not refused.
/// - The proxy runs on the runtime that started it: a test that blocks its only thread stops the proxy, too.
///
/// Dropping the proxy closes its port at once, and its connections as soon as the runtime runs.
///
/// # Examples
///
/// A client whose query is cut at every byte of the answer:
///
/// ```
/// use reqscope_testkit::{Direction, FaultProxy, Script};
/// use std::io::ErrorKind::ConnectionReset;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::{TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = FaultProxy::start(server.local_addr()?)?;
/// tokio::spawn(async move {
///     while let Ok((mut connection, _)) = server.accept().await {
///         connection.write_all(b"answer").await.ok();
///     }
/// });
/// let query = async || {
///     let mut client = TcpStream::connect(proxy.addr()).await?;
///     let mut answer = String::new();
///     client.read_to_string(&mut answer).await?;
///     std::io::Result::Ok(answer)
/// };
///
/// for bytes in 0..=6 {
///     proxy.next().play(Script::new().forward(Direction::ToClient, bytes).reset());
///     assert_eq!(query().await.unwrap_err().kind(), ConnectionReset);
/// }
/// assert_eq!(query().await?, "answer");
/// # Ok(())
/// # }
/// ```
///
/// A backend that goes away and comes back:
///
/// ```
/// use reqscope_testkit::FaultProxy;
/// use std::io::ErrorKind::ConnectionRefused;
/// use tokio::net::{TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = FaultProxy::start(server.local_addr()?)?;
///
/// proxy.refuse()?;
/// proxy.open().reset();
/// assert_eq!(TcpStream::connect(proxy.addr()).await.unwrap_err().kind(), ConnectionRefused);
///
/// proxy.heal()?;
/// TcpStream::connect(proxy.addr()).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a proxy that is dropped ends its connections"]
pub struct FaultProxy {
    inner: Arc<Inner>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy in front of this server, on a free port of 127.0.0.1.
    ///
    /// A name is resolved once, when the proxy is started, which blocks. The server need not run yet.
    ///
    /// # Errors
    ///
    /// Returns an error if the name cannot be resolved, or if no port or descriptor is left.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O. A script with a pause or a delay also needs the runtime's clock.
    pub fn start(upstream: impl ToSocketAddrs) -> io::Result<Self> {
        let upstream = upstream.to_socket_addrs()?.collect();
        let (listener, addr) = Listener::open()?;
        let inner = Arc::new(Inner::new(listener, addr, upstream));
        let accepting = tokio::spawn(accept(Arc::clone(&inner)));
        Ok(FaultProxy { inner, accepting })
    }

    /// Returns the address to which clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.inner.addr
    }

    /// Returns the counters.
    pub fn traffic(&self) -> Traffic {
        self.inner.lock().traffic
    }

    /// Waits until the condition holds for the counters, and panics at the caller's line if that takes longer than
    /// `bound`.
    ///
    /// The condition is checked each time a counter changes, so a state that lasts for a moment only may be missed. The
    /// bound is on tokio's clock. A paused clock passes it as soon as all tasks wait, even if they wait for a socket.
    ///
    /// # Panics
    ///
    /// Panics at the caller's line, with the counters, if the condition does not hold within `bound`. Also panics
    /// outside of a tokio runtime with a clock.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is lost.
    ///
    /// # Examples
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
    ///
    /// let bound = Duration::from_secs(5);
    /// proxy.until(bound, |traffic| traffic.accepted == 1).await;
    /// proxy.open().cut();
    /// proxy.until(bound, |traffic| traffic.open == 0).await;
    /// # });
    /// ```
    #[track_caller]
    pub fn until(&self, bound: Duration, condition: impl FnMut(&Traffic) -> bool) -> impl Future<Output = Traffic> {
        let caller = Location::caller();
        async move {
            match timeout(bound, self.inner.until(condition)).await {
                Ok(traffic) => traffic,
                Err(_) => panic!("{caller}: the condition did not hold within {bound:?}: {:?}", self.traffic()),
            }
        }
    }

    /// Selects the open connections.
    pub fn open(&self) -> Connections<'_> {
        Connections::new(&self.inner, Which::Open)
    }

    /// Selects the future connections, except for those selected by [`next`](FaultProxy::next) and
    /// [`nth`](FaultProxy::nth).
    pub fn coming(&self) -> Connections<'_> {
        Connections::new(&self.inner, Which::Coming)
    }

    /// Selects all open and future connections, atomically.
    pub fn all(&self) -> Connections<'_> {
        Connections::new(&self.inner, Which::All)
    }

    /// Selects the next connection; a second call selects the one after it.
    pub fn next(&self) -> Connections<'_> {
        Connections::new(&self.inner, Which::Next)
    }

    /// Selects the connection with this number, open or future. They are numbered from 0, in the order in which they
    /// are accepted. A fault for a connection that has ended is ignored.
    pub fn nth(&self, number: usize) -> Connections<'_> {
        Connections::new(&self.inner, Which::Nth(number))
    }

    /// Refuses new connections until [`heal`](FaultProxy::heal). Open connections stay as they are.
    ///
    /// The port is closed but reserved: no other process gets it meanwhile. A client that had connected and was not
    /// accepted yet is reset.
    ///
    /// # Errors
    ///
    /// Returns an error if the port could not be reserved, because another process was faster or no descriptor is left.
    /// The port is closed nevertheless.
    pub fn refuse(&self) -> io::Result<()> {
        self.inner.lock().listener.refuse(self.addr())
    }

    /// Ends all faults: connections are accepted, the plan for future ones is empty, and open ones forward everything,
    /// except for those in a black hole or half closed.
    ///
    /// # Errors
    ///
    /// Returns an error if the port cannot be opened again. All other faults are ended nevertheless.
    pub fn heal(&self) -> io::Result<()> {
        self.inner.lock().plan = Plan::default();
        self.all().heal();
        self.inner.reopen()
    }
}

/// Accepts connections until it is dropped, and its connections with it.
async fn accept(inner: Arc<Inner>) {
    let mut connections = JoinSet::new();
    loop {
        select! {
            accepted = inner.accept() => match accepted {
                Ok((registration, client)) => {
                    connections.spawn(connection::serve(registration, client));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(ended) = connections.join_next() => drop(ended),
        }
    }
}

/// Closes the port at once. The sockets belong to tasks, which end when the runtime runs them.
impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.inner.lock().listener = Listener::Closed;
        self.accepting.abort();
    }
}

impl fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultProxy")
            .field("addr", &self.addr())
            .field("traffic", &self.traffic())
            .finish_non_exhaustive()
    }
}
