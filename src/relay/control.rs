//! One control connection with what is still to be sent on it.

use bytes::{Buf, BytesMut};
use rustix::net::SendFlags;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;

/// Unsent bytes beyond which the other peer is read no further: a peer that does not read holds up
/// only its own session.
const BACKLOG_LIMIT: usize = 64 * 1024;

/// One control connection.
#[derive(Debug)]
pub(super) struct Control {
    stream: TcpStream,
    unsent: BytesMut,
    /// The peer has ended its sending side, or the connection is broken.
    ended: bool,
    /// Our own sending side is ended.
    finished: bool,
}

impl Control {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: BytesMut::new(), ended: false, finished: false }
    }

    /// Queues bytes; [`poll_flush`](Self::poll_flush) sends them.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Sends bytes with the last one as urgent data. Behind unsent bytes it can only go in line,
    /// where a server finds the same Telnet sequence, later.
    pub(super) fn send_urgent(&mut self, bytes: &[u8]) {
        let sent = if self.unsent.is_empty() {
            self.stream.try_io(Interest::WRITABLE, || {
                Ok(rustix::net::send(&self.stream, bytes, SendFlags::OOB | SendFlags::NOSIGNAL)?)
            })
        } else {
            Ok(0)
        };
        // An error shows again, and is handled, with the ABOR that follows.
        let rest = bytes.get(sent.unwrap_or(0)..).unwrap_or_default();
        self.unsent.extend_from_slice(rest);
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    pub(super) fn is_backlogged(&self) -> bool {
        self.unsent.len() >= BACKLOG_LIMIT
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn has_finished(&self) -> bool {
        self.finished
    }

    /// Sends what is unsent. Pending while the peer takes no more; an error ends the connection.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))
                .inspect_err(|_| self.unsent.clear())?;
            self.unsent.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into `buffer`. Ready with 0 bytes once, at the peer's end; an error is an end too.
    ///
    /// A short read does not mean that nothing is left: the kernel stops at the mark of urgent data
    /// (the Telnet Synch ahead of ABOR). So readiness ends only where a read would block.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let result = match ready!(self.stream.poll_read_ready(cx)) {
                Ok(()) => self.stream.try_read(buffer),
                Err(error) => Err(error),
            };
            if let Err(error) = &result
                && error.kind() == io::ErrorKind::WouldBlock
            {
                continue;
            }
            self.ended = !matches!(result, Ok(count) if count > 0);
            return Poll::Ready(result);
        }
    }

    /// Ends the sending side, so that the peer sees the end behind the last byte.
    pub(super) fn finish(&mut self) {
        self.finished = true;
        // An error means that the connection is gone already.
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
    }
}
