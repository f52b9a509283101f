//! The disconnect watch: a second registration of a socket that only waits for the peer's close.
//!
//! hyper notices a close only when it reads, and in many states it does not read: a byte is left in its buffer, a body
//! is unread, half-close is allowed. The kernel reports the close in every state. The socket's descriptor is
//! duplicated, and the duplicate is registered with the runtime; nothing is ever read from the duplicate, so hyper
//! receives every byte.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

#[cfg(all(unix, not(reqscope_portable)))]
use std::os::fd::AsFd;

/// Waits until the peer of a socket has disconnected, without reading from the socket.
///
/// [`serve`](crate::serve) creates one for every connection. In an accept loop of your own, create it from the raw
/// socket, *below* TLS, before the socket is wrapped, and drop the connection's future when
/// [`gone`](DisconnectWatch::gone) returns.
///
/// # Pitfalls
///
/// - A client that shuts down its write side and waits for the response counts as disconnected, as it does for hyper by
///   default. [`for_reset`](DisconnectWatch::for_reset) notices resets only.
/// - A peer that disappears without closing the connection is noticed only when the kernel declares it dead, which by
///   default never happens while nothing is sent. [`Tcp`](crate::Tcp) configures the socket so that it happens within a
///   minute.
/// - A peer that sent more than the kernel buffers and then closed cleanly is not noticed while the bytes are unread,
///   because its FIN comes after them (a reset does not). Set a timeout for requests.
/// - The watch holds a duplicate of the descriptor, and the socket is closed when *both* are dropped. Drop the
///   connection first and the watch last, so that the peer sees the close only after the handlers were dropped.
/// - The watch needs one descriptor per connection, which the default of
///   [`max_connections`](crate::Serve::max_connections) takes into account.
///
/// On systems other than Unix the watch is not implemented yet: it waits forever.
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
/// watch.gone().await; // although nothing reads from `socket`
/// # Ok(())
/// # }
/// ```
pub struct DisconnectWatch(sys::Inner);

impl DisconnectWatch {
    /// Watches for the peer's close (FIN) and for a reset (RST).
    ///
    /// # Errors
    ///
    /// Returns an error if no descriptor is left for the duplicate, or if the runtime cannot register it.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime, or in a runtime without I/O.
    #[cfg(all(unix, not(reqscope_portable)))]
    pub fn new(socket: &impl AsFd) -> io::Result<Self> {
        sys::Inner::new(socket.as_fd(), sys::WatchFor::Close).map(DisconnectWatch)
    }

    /// Watches for a reset only, for servers whose clients may shut down their write side and wait.
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
    /// client.shutdown().await.unwrap(); // has sent everything, and waits for the response
    ///
    /// client.set_zero_linger().unwrap();
    /// drop(client); // disconnects with a reset
    /// # #[cfg(all(unix, not(reqscope_portable)))]
    /// watch.gone().await;
    /// # });
    /// ```
    #[cfg(all(unix, not(reqscope_portable)))]
    pub fn for_reset(socket: &impl AsFd) -> io::Result<Self> {
        sys::Inner::new(socket.as_fd(), sys::WatchFor::Reset).map(DisconnectWatch)
    }

    /// Creates a watch that waits forever: this system has no disconnect watch.
    ///
    /// # Errors
    ///
    /// None.
    #[cfg(not(all(unix, not(reqscope_portable))))]
    pub fn new<S>(_socket: &S) -> io::Result<Self> {
        Ok(Self::never())
    }

    /// Creates a watch that waits forever: this system has no disconnect watch.
    ///
    /// # Errors
    ///
    /// None.
    #[cfg(not(all(unix, not(reqscope_portable))))]
    pub fn for_reset<S>(_socket: &S) -> io::Result<Self> {
        Ok(Self::never())
    }

    /// Creates a watch that waits forever, for connections that are not sockets.
    ///
    /// # Examples
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

    /// Waits until the peer has disconnected. After that, every further call returns immediately.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: a later call continues to wait.
    pub async fn gone(&mut self) {
        poll_fn(|cx| self.poll_gone(cx)).await;
    }

    /// Polls whether the peer has disconnected; see [`gone`](DisconnectWatch::gone). Only the waker of the last call is
    /// woken.
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
            // Only a registration for reading is notified of a FIN, but also of every packet. A registration for
            // writing is notified of a reset and little else, so it is enough for the second case.
            let interest = match watch_for {
                WatchFor::Close => Interest::READABLE,
                WatchFor::Reset => Interest::WRITABLE,
            };
            let duplicate = socket.try_clone_to_owned()?;
            // The replacement of this function is unsafe, because a descriptor may be changed or closed elsewhere. An
            // `OwnedFd` cannot be, and this crate has no unsafe code.
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
                // The runtime is shutting down, and drops this task itself.
                let Ok(mut event) = ready!(event) else { return Poll::Pending };
                let ready = event.ready();
                if ready.is_read_closed() || ready.is_write_closed() {
                    return Poll::Ready(());
                }
                // Bytes were received or sent, which is for hyper; wait for the next edge. A close is never cleared.
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
