use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::phase::{Phase, reached};
use crate::slot::ConnectionSlot;

/// The socket of a connection. It owns a reference to the connection's slot, also after an upgrade has handed it over
/// to the user.
///
/// After an upgrade, its operations fail once the server cuts the remaining connections, because there is no connection
/// task to drop.
pub(crate) struct Socket<Io> {
    io: Io,
    read_cut: Cut,
    write_cut: Cut,
    // Dropped after the socket: the slot is free when the descriptor is.
    slot: MarkClosed,
}

impl<Io> Socket<Io> {
    pub(crate) fn new(io: Io, slot: Arc<ConnectionSlot>) -> Self {
        Socket { io, read_cut: Cut::Unchecked, write_cut: Cut::Unchecked, slot: MarkClosed(slot) }
    }
}

/// Marks the socket as closed when it is dropped.
struct MarkClosed(Arc<ConnectionSlot>);

impl Drop for MarkClosed {
    fn drop(&mut self) {
        self.0.socket_closed();
    }
}

/// Whether the server has cut the connection. One per direction, because two tasks may use them.
enum Cut {
    Unchecked,
    Waiting(Pin<Box<dyn Future<Output = ()> + Send>>),
    Done,
}

impl Cut {
    /// Fails if the server has cut the connection. Before an upgrade this costs one load, because the connection's task
    /// is cut instead.
    fn check(&mut self, slot: &ConnectionSlot, cx: &mut Context<'_>) -> io::Result<()> {
        if !slot.is_switching() {
            return Ok(());
        }
        if let Cut::Unchecked = self {
            *self = Cut::Waiting(Box::pin(reached(slot.phase(), Phase::Cut)));
        }
        if let Cut::Waiting(cut) = self {
            if cut.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            *self = Cut::Done;
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server has shut down"))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Socket<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.read_cut.check(&this.slot.0, cx)?;
        Pin::new(&mut this.io).poll_read(cx, buf)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Socket<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.write_cut.check(&this.slot.0, cx)?;
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.write_cut.check(&this.slot.0, cx)?;
        Pin::new(&mut this.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.write_cut.check(&this.slot.0, cx)?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.write_cut.check(&this.slot.0, cx)?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
