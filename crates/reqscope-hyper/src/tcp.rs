use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use crate::{DisconnectWatch, Listener};

/// What the kernel takes as a number of seconds, and of probes.
const MOST_SECONDS: u64 = 32_767;
const MOST_PROBES: u32 = 127;

/// A TCP listener whose sockets notice a peer that has vanished without a packet: power cut, cable pulled, NAT entry
/// forgotten.
///
/// A bare [`TcpListener`] does so with the defaults of this type. Without it nobody would ever tell: with nothing to
/// send, a connection to nowhere looks like one to a patient client, and its handler would keep what it has.
///
/// | | default | |
/// |---|---|---|
/// | keepalive | on | a quiet peer is probed, |
/// | idle | 30 s | after so long without a packet; as long as an idle HTTP/1 connection is kept, so that the probes go to those with work to do |
/// | interval | 10 s | again after so long |
/// | count | 3 | until so many were lost: two may be, on a bad radio link |
/// | user timeout | 60 s | bytes that the peer does not take for so long: what the probes allow for an idle one |
///
/// So such a peer is noticed within a minute. The [watch](crate::DisconnectWatch) sees the kernel give up, and the handler is
/// dropped. Nagle's algorithm is off: an answer goes out when it is written.
///
/// The user timeout, the interval and the count are set where the system has them: the first on Linux and Android, the
/// others there and on Apple's systems, FreeBSD and Windows. Elsewhere the system's own count.
///
/// # Examples
///
/// For clients on a fast network, noticed within ten seconds:
///
/// ```
/// use std::time::Duration;
///
/// use reqscope_hyper::{Tcp, serve};
/// use tokio::net::TcpListener;
///
/// # async fn f(service: (), scopes: &reqscope::Scopes) -> std::io::Result<()> {
/// let listener = Tcp::new(TcpListener::bind("127.0.0.1:0").await?)
///     .keepalive_idle(Duration::from_secs(4))
///     .keepalive_interval(Duration::from_secs(2))
///     .user_timeout(Some(Duration::from_secs(10)));
/// serve(listener, service, scopes)
/// # ;Ok(()) }
/// ```
#[derive(Debug)]
pub struct Tcp {
    listener: TcpListener,
    options: Options,
}

impl Tcp {
    /// Accepts from `listener`, with the defaults.
    pub fn new(listener: TcpListener) -> Self {
        Tcp { listener, options: Options::DEFAULT }
    }

    /// Whether a quiet peer is probed. On by default; off, a vanished one is noticed only when something is sent to it.
    #[must_use]
    pub fn keepalive(mut self, keepalive: bool) -> Self {
        self.options.keepalive = keepalive;
        self
    }

    /// After how long without a packet a peer is probed. The default is 30 s, as long as an idle HTTP/1 connection is
    /// kept: the probes then go to connections with work to do.
    ///
    /// # Panics
    ///
    /// If it is less than a second or more than 32,767, which the kernel does not take.
    #[must_use]
    pub fn keepalive_idle(mut self, idle: Duration) -> Self {
        self.options.idle = in_seconds(idle);
        self
    }

    /// How long after an unanswered probe the next one is sent. The default is 10 s: a link that is down for a moment
    /// comes back meanwhile.
    ///
    /// # Panics
    ///
    /// As [`keepalive_idle`](Tcp::keepalive_idle).
    #[must_use]
    pub fn keepalive_interval(mut self, interval: Duration) -> Self {
        self.options.interval = in_seconds(interval);
        self
    }

    /// How many probes in a row must be lost. The default is 3: one or two are lost on a bad link without meaning
    /// anything.
    ///
    /// On Linux the [user timeout](Tcp::user_timeout) takes its place: the peer is given up when that has passed since
    /// its last packet and a probe was lost.
    ///
    /// # Panics
    ///
    /// If it is 0 or more than 127, which the kernel does not take.
    #[must_use]
    pub fn keepalive_count(mut self, count: u32) -> Self {
        assert!((1..=MOST_PROBES).contains(&count), "the kernel takes from 1 to {MOST_PROBES} probes, not {count}");
        self.options.count = count;
        self
    }

    /// How long bytes may stay unacknowledged, or wait for a peer that takes none, before the connection is given up
    /// (`TCP_USER_TIMEOUT`). `None` leaves it to the kernel, which goes on sending for about a quarter of an hour.
    ///
    /// The default is 60 s, what idle, interval and count make together.
    ///
    /// It also ends a client that is there and reads nothing, such as a paused video, once its window has been shut for
    /// so long. If you serve those, set it higher, or `None` and a limit on writes of your own.
    #[must_use]
    pub fn user_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.options.user_timeout = timeout;
        self
    }

    /// The listener inside.
    pub fn get_ref(&self) -> &TcpListener {
        &self.listener
    }

    /// Takes the wrapper off.
    pub fn into_inner(self) -> TcpListener {
        self.listener
    }
}

fn in_seconds(duration: Duration) -> Duration {
    let seconds = duration.as_secs();
    assert!((1..=MOST_SECONDS).contains(&seconds), "the kernel takes from 1 to {MOST_SECONDS} s, not {duration:?}");
    duration
}

impl Listener for Tcp {
    type Io = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.listener.accept().await?;
        self.options.set(&socket);
        Ok((socket, peer))
    }

    fn watch(&self, socket: &TcpStream, half_close: bool) -> io::Result<DisconnectWatch> {
        self.listener.watch(socket, half_close)
    }
}

/// With the socket options that [`Tcp`] has by default.
impl Listener for TcpListener {
    type Io = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = TcpListener::accept(self).await?;
        Options::DEFAULT.set(&socket);
        Ok((socket, peer))
    }

    fn watch(&self, socket: &TcpStream, half_close: bool) -> io::Result<DisconnectWatch> {
        if half_close { DisconnectWatch::for_reset(socket) } else { DisconnectWatch::new(socket) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Options {
    keepalive: bool,
    idle: Duration,
    interval: Duration,
    count: u32,
    user_timeout: Option<Duration>,
}

impl Options {
    const DEFAULT: Options = Options {
        keepalive: true,
        idle: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        count: 3,
        user_timeout: Some(Duration::from_secs(60)),
    };

    /// All are values that the kernel takes, so this fails only on a socket that is dead already, and then reading from
    /// it says so too.
    fn set(&self, socket: &TcpStream) {
        socket.set_nodelay(true).ok();
        let socket = SockRef::from(socket);
        if self.keepalive {
            socket.set_tcp_keepalive(&sys::probes(self, TcpKeepalive::new().with_time(self.idle))).ok();
        }
        sys::set_user_timeout(self, &socket);
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(reqscope_portable)))]
mod sys {
    use socket2::{SockRef, TcpKeepalive};

    use super::Options;

    pub(super) fn probes(options: &Options, keepalive: TcpKeepalive) -> TcpKeepalive {
        keepalive.with_interval(options.interval).with_retries(options.count)
    }

    pub(super) fn set_user_timeout(options: &Options, socket: &SockRef<'_>) {
        socket.set_tcp_user_timeout(options.user_timeout).ok();
    }
}

#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(reqscope_portable))))]
mod sys {
    use socket2::{SockRef, TcpKeepalive};

    use super::Options;

    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "linux", windows))]
    pub(super) fn probes(options: &Options, keepalive: TcpKeepalive) -> TcpKeepalive {
        keepalive.with_interval(options.interval).with_retries(options.count)
    }

    #[cfg(not(any(target_vendor = "apple", target_os = "freebsd", target_os = "linux", windows)))]
    pub(super) fn probes(_options: &Options, keepalive: TcpKeepalive) -> TcpKeepalive {
        keepalive
    }

    pub(super) fn set_user_timeout(_options: &Options, _socket: &SockRef<'_>) {}
}
