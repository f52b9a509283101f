use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::phase::{Phase, reached};
use crate::slot::ConnectionSlot;

/// A connection's socket, which knows its place, and takes it along when an upgrade hands it over to the user.
///
/// Handed over, it fails when the server cuts what is left: there is no task of ours then that could be dropped.
pub(crate) struct Socket<Io> {
    io: Io,
    read_cut: Cut,
    write_cut: Cut,
    // Dropped after the socket: the place is free when the descriptor is.
    slot: MarkClosed,
}

impl<Io> Socket<Io> {
    pub(crate) fn new(io: Io, slot: Arc<ConnectionSlot>) -> Self {
        Socket { io, read_cut: Cut::Unchecked, write_cut: Cut::Unchecked, slot: MarkClosed(slot) }
    }
}

struct MarkClosed(Arc<ConnectionSlot>);

impl Drop for MarkClosed {
    fn drop(&mut self) {
        self.0.socket_closed();
    }
}

/// Whether the server has cut it. One for each direction, as two tasks may use them.
enum Cut {
    Unchecked,
    Waiting(Pin<Box<dyn Future<Output = ()> + Send>>),
    Done,
}

impl Cut {
    /// While HTTP is spoken, the task that does so is what is cut, and this costs one load.
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
