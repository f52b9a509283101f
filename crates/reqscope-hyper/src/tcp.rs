use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use crate::{DisconnectWatch, Listener};

/// The largest numbers of seconds and of probes that the kernel accepts.
const MOST_SECONDS: u64 = 32_767;
const MOST_PROBES: u32 = 127;

/// A TCP listener whose sockets detect a dead peer, and do not hide a slow one. A dead peer has disappeared without
/// closing the connection, after a power cut, a pulled cable or a lost NAT entry.
///
/// A plain [`TcpListener`] uses the defaults of this type. Without these options a dead peer would never be noticed:
/// while nothing is sent, its connection looks like that of an idle client, and the handler would keep its handles.
///
/// | option | default | meaning |
/// |---|---|---|
/// | keepalive | on | a silent peer is probed |
/// | idle | 30 s | the time without a packet before the first probe; the same as for idle HTTP/1 connections, so that probes go to connections with a request in flight |
/// | interval | 10 s | the time between two probes |
/// | count | 3 | the number of lost probes after which the peer counts as dead; one or two may be lost on a bad link |
/// | user timeout | 60 s | the time for which sent bytes may stay unacknowledged; what the probes add up to for an idle peer |
/// | unsent bytes | 16 KiB | how much of a response the kernel takes before it can send it |
///
/// So a dead peer is detected within a minute: the kernel closes the connection, the [watch](crate::DisconnectWatch)
/// notices it, and the handler is dropped. Nagle's algorithm is off, so that a response is sent as soon as it is
/// written.
///
/// The limit on [unsent bytes](Tcp::notsent_lowat) makes the server ask for the next part of a response when its client
/// has read the last one. Without it, Linux takes up to some megabytes at once, and then nothing until a third of them
/// is read; to a [`LeaseBody`](crate::LeaseBody) a slow client would look like one that has stalled.
///
/// The user timeout and the limit on unsent bytes are available on Linux and Android, the interval and the count there
/// and on Apple's systems, FreeBSD and Windows. Elsewhere the system's defaults apply.
///
/// # Examples
///
/// For clients on a fast network, to notice a dead peer within ten seconds:
///
/// ```
/// use std::time::Duration;
///
/// use reqscope_hyper::{Tcp, serve};
/// use tokio::net::TcpListener;
///
/// # type Service = reqscope_hyper::TowerToHyperService<axum::Router>;
/// # async fn f(service: Service, scopes: &reqscope::Scopes) -> std::io::Result<()> {
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
    /// Creates a listener that accepts from `listener` and sets the default options.
    pub fn new(listener: TcpListener) -> Self {
        Tcp { listener, options: Options::DEFAULT }
    }

    /// Sets whether a silent peer is probed. Defaults to `true`, because a dead peer is otherwise noticed only when
    /// something is sent to it.
    #[must_use]
    pub fn keepalive(mut self, keepalive: bool) -> Self {
        self.options.keepalive = keepalive;
        self
    }

    /// Sets the time without a packet after which a peer is probed. Defaults to 30 s, because idle HTTP/1 connections
    /// are closed then, so that probes go to connections with a request in flight.
    ///
    /// # Panics
    ///
    /// Panics if `idle` is less than 1 s or more than 32,767 s, which the kernel does not accept.
    #[must_use]
    pub fn keepalive_idle(mut self, idle: Duration) -> Self {
        self.options.idle = in_seconds(idle);
        self
    }

    /// Sets the time between an unanswered probe and the next one. Defaults to 10 s, because a link that is down for a
    /// moment recovers within it.
    ///
    /// # Panics
    ///
    /// Panics like [`keepalive_idle`](Tcp::keepalive_idle).
    #[must_use]
    pub fn keepalive_interval(mut self, interval: Duration) -> Self {
        self.options.interval = in_seconds(interval);
        self
    }

    /// Sets the number of probes in a row that must be lost before the peer counts as dead. Defaults to 3, because one
    /// or two may be lost on a bad link.
    ///
    /// On Linux the [user timeout](Tcp::user_timeout) replaces this number: the peer counts as dead when the user
    /// timeout has elapsed since its last packet and a probe was lost.
    ///
    /// # Panics
    ///
    /// Panics if `count` is 0 or more than 127, which the kernel does not accept.
    #[must_use]
    pub fn keepalive_count(mut self, count: u32) -> Self {
        assert!((1..=MOST_PROBES).contains(&count), "the kernel accepts from 1 to {MOST_PROBES} probes, not {count}");
        self.options.count = count;
        self
    }

    /// Sets how long sent bytes may stay unacknowledged, or wait for a peer that accepts none, before the kernel closes
    /// the connection (`TCP_USER_TIMEOUT`). Defaults to 60 s, because idle, interval and count add up to it.
    ///
    /// `None` leaves it to the kernel, which resends for about a quarter of an hour.
    ///
    /// The timeout also ends the connection of a live client that reads nothing, such as a paused video player, once
    /// its receive window has been closed for that long. To serve such clients, set a higher value, or `None` and a
    /// write timeout of your own.
    #[must_use]
    pub fn user_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.options.user_timeout = timeout;
        self
    }

    /// Sets how many bytes of a response the kernel takes while it cannot send them yet (`TCP_NOTSENT_LOWAT`). Defaults
    /// to 16 KiB, the size of one TLS record, because the kernel then asks for the next part in small steps while the
    /// client still reads the last one. A higher value is not faster: what the client has room for is sent at once and
    /// does not count.
    ///
    /// `None` and `Some(0)` leave it to the system, whose default is no limit (`net.ipv4.tcp_notsent_lowat`). The
    /// kernel may then take megabytes at once, up to 4 MB over loopback, and ask again when a third of them is read. A
    /// client that reads less than 50 kB per second then looks for more than 30 s as if it read nothing, and loses a
    /// [`LeaseBody`](crate::LeaseBody#stalled-clients), unless the stall timeout of the body is raised. With the
    /// default the limit is about 6 kB per second.
    ///
    /// Only available on Linux and Android; elsewhere it has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use reqscope_hyper::Tcp;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let listener = Tcp::new(tokio::net::TcpListener::bind("127.0.0.1:0").await?).notsent_lowat(Some(128 << 10));
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn notsent_lowat(mut self, bytes: Option<u32>) -> Self {
        self.options.notsent_lowat = bytes;
        self
    }

    /// Returns a reference to the inner listener.
    pub fn get_ref(&self) -> &TcpListener {
        &self.listener
    }

    /// Returns the inner listener.
    pub fn into_inner(self) -> TcpListener {
        self.listener
    }
}

/// Checks that the kernel accepts the duration as a number of seconds.
fn in_seconds(duration: Duration) -> Duration {
    let seconds = duration.as_secs();
    assert!((1..=MOST_SECONDS).contains(&seconds), "the kernel accepts from 1 to {MOST_SECONDS} s, not {duration:?}");
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

/// Sets the default socket options of [`Tcp`].
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
    notsent_lowat: Option<u32>,
}

impl Options {
    const DEFAULT: Options = Options {
        keepalive: true,
        idle: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        count: 3,
        user_timeout: Some(Duration::from_secs(60)),
        notsent_lowat: Some(16 << 10),
    };

    /// Sets the options of a socket. Errors are ignored: the kernel accepts all values, so only a socket that is
    /// already dead fails, and then reading from it fails too.
    fn set(&self, socket: &TcpStream) {
        socket.set_nodelay(true).ok();
        let socket = SockRef::from(socket);
        if self.keepalive {
            socket.set_tcp_keepalive(&sys::probes(self, TcpKeepalive::new().with_time(self.idle))).ok();
        }
        sys::set_others(self, &socket);
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(reqscope_portable)))]
mod sys {
    use socket2::{SockRef, TcpKeepalive};

    use super::Options;

    pub(super) fn probes(options: &Options, keepalive: TcpKeepalive) -> TcpKeepalive {
        keepalive.with_interval(options.interval).with_retries(options.count)
    }

    pub(super) fn set_others(options: &Options, socket: &SockRef<'_>) {
        socket.set_tcp_user_timeout(options.user_timeout).ok();
        if let Some(bytes) = options.notsent_lowat {
            socket.set_tcp_notsent_lowat(bytes).ok();
        }
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

    pub(super) fn set_others(_options: &Options, _socket: &SockRef<'_>) {}
}
