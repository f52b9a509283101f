//! The disconnect watch: a second registration of a socket that waits for one thing, the peer's close.
//!
//! hyper hears of a close only when it reads, and in many states it does not: a byte is left in its buffer, a body
//! waits to be read, half-close is allowed. The kernel knows all the same. The socket's descriptor is duplicated
//! and the duplicate registered with the runtime; nothing is ever read from it, so the bytes stay hyper's.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

#[cfg(all(unix, not(reqscope_portable)))]
use std::os::fd::AsFd;

/// Waits until the peer of a socket has gone, without reading from the socket.
///
/// [`serve`](crate::serve) makes one for every connection. Use it by hand in an accept loop of your own: make it
/// from the raw socket, *below* TLS, before the socket is wrapped, and drop the connection's future when
/// [`gone`](DisconnectWatch::gone) answers.
///
/// What surprises:
///
/// - A client that shuts down its write side and still waits for the answer counts as gone, as it does for hyper by
///   default. [`for_reset`](DisconnectWatch::for_reset) tells the two apart.
/// - A peer that vanishes without a packet is seen when the kernel gives it up, which by itself it never does while
///   nothing is sent. [`Tcp`](crate::Tcp) sets the socket so that it does within a minute.
/// - A peer that closed in good order after it had sent more than the kernel takes in while nobody reads is not seen: its
///   FIN stands behind those bytes (a reset does not). A deadline on the request is the answer.
/// - The watch holds a duplicate of the descriptor: the socket is closed when *both* are. Drop the connection first
///   and the watch after it, and the peer sees the close only when the handlers are gone.
/// - It costs one descriptor per connection, which the default of
///   [`max_connections`](crate::Serve::max_connections) takes into account.
///
/// On what is not Unix there is no such watch yet: it never answers there.
///
/// # Examples
///
/// ```
/// use reqscope_hyper::DisconnectWatch;
/// use tokio::net::{TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (socket, _) = listener.accept().await?;
///
/// let mut watch = DisconnectWatch::new(&socket)?;
/// drop(client);
/// # #[cfg(all(unix, not(reqscope_portable)))]
/// watch.gone().await; // though nobody reads from `socket`
/// # Ok(())
/// # }
/// ```
pub struct DisconnectWatch(sys::Inner);

impl DisconnectWatch {
    /// Watches for the peer's close (FIN) and for a reset (RST).
    ///
    /// # Errors
    ///
    /// No descriptor is left for the duplicate, or the runtime cannot register it.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or in one without I/O.
    #[cfg(all(unix, not(reqscope_portable)))]
    pub fn new(socket: &impl AsFd) -> io::Result<Self> {
        sys::Inner::new(socket.as_fd(), sys::WatchFor::Close).map(DisconnectWatch)
    }

    /// Watches for a reset only, for servers that let clients shut down their write side and wait.
    ///
    /// A Unix socket whose peer has closed both directions counts as reset.
    ///
    /// # Errors
    ///
    /// As [`new`](DisconnectWatch::new).
    ///
    /// # Panics
    ///
    /// As [`new`](DisconnectWatch::new).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # use reqscope_hyper::DisconnectWatch;
    /// # use tokio::io::AsyncWriteExt;
    /// # use tokio::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// # let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    /// # let (socket, _) = listener.accept().await.unwrap();
    /// let mut watch = DisconnectWatch::for_reset(&socket).unwrap();
    /// client.shutdown().await.unwrap(); // it has said all, and waits for the answer
    ///
    /// client.set_zero_linger().unwrap();
    /// drop(client); // it has gone, with a reset
    /// # #[cfg(all(unix, not(reqscope_portable)))]
    /// watch.gone().await;
    /// # });
    /// ```
    #[cfg(all(unix, not(reqscope_portable)))]
    pub fn for_reset(socket: &impl AsFd) -> io::Result<Self> {
        sys::Inner::new(socket.as_fd(), sys::WatchFor::Reset).map(DisconnectWatch)
    }

    /// The portable stand-in: never answers.
    ///
    /// # Errors
    ///
    /// None.
    #[cfg(not(all(unix, not(reqscope_portable))))]
    pub fn new<S>(_socket: &S) -> io::Result<Self> {
        Ok(Self::never())
    }

    /// The portable stand-in: never answers.
    ///
    /// # Errors
    ///
    /// None.
    #[cfg(not(all(unix, not(reqscope_portable))))]
    pub fn for_reset<S>(_socket: &S) -> io::Result<Self> {
        Ok(Self::never())
    }

    /// A watch that never answers: for connections that are no sockets.
    ///
    /// ```
    /// use reqscope_hyper::DisconnectWatch;
    /// use std::task::{Context, Waker};
    ///
    /// let mut watch = DisconnectWatch::never();
    /// assert!(watch.poll_gone(&mut Context::from_waker(Waker::noop())).is_pending());
    /// ```
    pub fn never() -> Self {
        DisconnectWatch(sys::Inner::never())
    }

    /// Waits until the peer has gone. Once it has, every further call answers at once.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the next call goes on waiting.
    pub async fn gone(&mut self) {
        poll_fn(|cx| self.poll_gone(cx)).await;
    }

    /// The poll behind [`gone`](DisconnectWatch::gone). The last caller's waker is woken.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_gone(cx)
    }
}

impl fmt::Debug for DisconnectWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DisconnectWatch").finish_non_exhaustive()
    }
}

#[cfg(all(unix, not(reqscope_portable)))]
mod sys {
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::task::{Context, Poll, ready};

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    pub(super) struct Inner {
        socket: Option<AsyncFd<OwnedFd>>,
        watch_for: WatchFor,
    }

    #[derive(Clone, Copy)]
    pub(super) enum WatchFor {
        Close,
        Reset,
    }

    impl Inner {
        pub(super) fn new(socket: BorrowedFd<'_>, watch_for: WatchFor) -> io::Result<Self> {
            // Only a registration for reading hears of a FIN. It is also told of every packet; one for writing is
            // told of a reset and of little else, so that is what the second case takes.
            let interest = match watch_for {
                WatchFor::Close => Interest::READABLE,
                WatchFor::Reset => Interest::WRITABLE,
            };
            let duplicate = socket.try_clone_to_owned()?;
            // Its successor is unsafe, for descriptors that change or close behind its back. An `OwnedFd` does
            // neither, and this crate has no unsafe code.
            #[allow(deprecated)]
            let socket = AsyncFd::with_interest(duplicate, interest)?;
            Ok(Inner { socket: Some(socket), watch_for })
        }

        pub(super) fn never() -> Self {
            Inner { socket: None, watch_for: WatchFor::Close }
        }

        pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            let Some(socket) = &self.socket else { return Poll::Pending };
            loop {
                let event = match self.watch_for {
                    WatchFor::Close => socket.poll_read_ready(cx),
                    WatchFor::Reset => socket.poll_write_ready(cx),
                };
                // The runtime is shutting down; it drops this task itself.
                let Ok(mut event) = ready!(event) else { return Poll::Pending };
                let ready = event.ready();
                if ready.is_read_closed() || ready.is_write_closed() {
                    return Poll::Ready(());
                }
                // Bytes arrived, or left. They are hyper's; wait for the next edge. A close is never cleared.
                event.clear_ready();
            }
        }
    }
}

#[cfg(not(all(unix, not(reqscope_portable))))]
mod sys {
    use std::task::{Context, Poll};

    pub(super) struct Inner;

    impl Inner {
        pub(super) fn never() -> Self {
            Inner
        }

        pub(super) fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
}
