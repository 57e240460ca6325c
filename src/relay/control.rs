//! One control connection: its socket, what lies over its bytes, and what is still to be sent.

use super::layer::{Layer, News, Step};
use bytes::{Buf, BytesMut};
use rustix::net::SendFlags;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;

/// Unsent bytes beyond which the other peer is read no further: a peer that does not read holds up
/// only its own session.
const BACKLOG_LIMIT: usize = 64 * 1024;

/// One read: a control line with its neighbours. Longer input comes in several.
pub(super) const READ_SIZE: usize = 4096;

/// Bytes received and not taken beyond which a peer is not read: more than a record has.
const WIRE_LIMIT: usize = 32 * 1024;

/// What [`Control::poll_read`] has.
#[derive(Debug)]
pub(super) enum Received {
    /// So many bytes of text; none: the peer has ended its sending side.
    Bytes(usize),
    /// Something of TLS.
    News(News),
}

/// One control connection.
pub(super) struct Control {
    stream: TcpStream,
    layer: Layer,
    /// Received under TLS and not taken yet.
    wire: BytesMut,
    /// As it goes over the wire.
    unsent: BytesMut,
    /// The peer has ended its sending side, or the connection is broken.
    ended: bool,
    /// Our own sending side is ended.
    finished: bool,
}

impl Control {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            layer: Layer::Text,
            wire: BytesMut::new(),
            unsent: BytesMut::new(),
            ended: false,
            finished: false,
        }
    }

    /// Queues text; [`poll_flush`](Self::poll_flush) sends it.
    pub(super) fn send(&mut self, text: &[u8]) {
        self.layer.send(text, &mut self.unsent);
    }

    /// Sends bytes with the last one as urgent data. Behind unsent bytes it can only go in line,
    /// where a server finds the same Telnet sequence, later; and so inside TLS, which knows none.
    pub(super) fn send_urgent(&mut self, bytes: &[u8]) {
        if !matches!(self.layer, Layer::Text) {
            return self.send(bytes);
        }
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
            if self.unsent.is_empty() {
                // An idle session keeps no room for lines.
                self.unsent = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads text into `buffer`, or what becomes of TLS. Ready with 0 bytes once, at the peer's end;
    /// an error is an end too.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        loop {
            match self.layer.step(&mut self.wire, buffer, &mut self.unsent) {
                Step::Text(0) => {}
                Step::Text(count) => return Poll::Ready(Ok(Received::Bytes(count))),
                Step::News(news) => return Poll::Ready(Ok(Received::News(news))),
                Step::Clear if self.wire.is_empty() => {
                    return self.poll_socket(cx, buffer).map_ok(Received::Bytes);
                }
                Step::Clear => {
                    let count = self.wire.len().min(buffer.len());
                    self.wire
                        .split_to(count)
                        .copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
                    return Poll::Ready(Ok(Received::Bytes(count)));
                }
                Step::More if self.wire.len() >= WIRE_LIMIT => return Poll::Pending,
                Step::More => {
                    let mut input = [0; READ_SIZE];
                    let Poll::Ready(received) = self.poll_socket(cx, &mut input) else {
                        if self.wire.is_empty() {
                            // An idle session keeps no room for records.
                            self.wire = BytesMut::new();
                        }
                        return Poll::Pending;
                    };
                    let count = received?;
                    if count == 0 {
                        return Poll::Ready(Ok(Received::Bytes(0)));
                    }
                    self.wire.extend_from_slice(input.get(..count).unwrap_or_default());
                }
            }
        }
    }

    /// A short read does not mean that nothing is left: the kernel stops at the mark of urgent data
    /// (the Telnet Synch ahead of ABOR). So readiness ends only where a read would block.
    fn poll_socket(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
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

    /// What has been received and not been taken.
    pub(super) fn received(&self) -> &[u8] {
        &self.wire
    }

    /// What lies over the bytes.
    pub(super) fn layer(&self) -> &Layer {
        &self.layer
    }

    /// True while TLS is being negotiated.
    pub(super) fn is_in_handshake(&self) -> bool {
        match &self.layer {
            Layer::Text | Layer::Broken => false,
            Layer::Hello(_) => true,
            Layer::Tls(_) => self.layer.connection().is_some_and(|tls| tls.is_handshaking()),
        }
    }

    /// TLS is due from the peer.
    pub(super) fn accept_tls(&mut self) {
        self.layer = Layer::Hello(Box::default());
    }

    /// Answers the hello of the peer.
    pub(super) fn present(&mut self, config: Arc<ServerConfig>) -> Result<(), rustls::Error> {
        self.layer.present(config, &mut self.unsent)
    }

    /// Begins TLS towards the peer.
    pub(super) fn connect_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<(), rustls::Error> {
        self.layer = Layer::connect(config, name, &mut self.unsent)?;
        Ok(())
    }

    /// Has the connection to a server take its last ticket once more, as if it had come again.
    pub(super) fn repeat_ticket(&mut self) -> Result<(), rustls::Error> {
        self.layer.repeat_ticket()
    }

    /// Lets the peer end TLS. Ours ends ahead of the next text to it.
    pub(super) fn let_tls_end(&mut self) {
        self.layer.let_end();
    }

    /// Ends TLS and goes on in text.
    pub(super) fn end_tls(&mut self) {
        self.layer.end(&mut self.unsent);
    }

    /// TLS has failed: nothing more is read or said but what is still unsent.
    pub(super) fn give_up_tls(&mut self) {
        self.layer.give_up();
    }

    /// Gives back a hello that is for somebody else, and what came behind it.
    pub(super) fn give_back_hello(&mut self) -> BytesMut {
        let mut bytes = BytesMut::from(self.layer.hello());
        bytes.extend_from_slice(&self.wire);
        self.wire = BytesMut::new();
        self.layer = Layer::Text;
        bytes
    }

    /// Ends the sending side, so that the peer sees the end behind the last byte.
    pub(super) fn finish(&mut self) {
        self.finished = true;
        // An error means that the connection is gone already.
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
    }
}
