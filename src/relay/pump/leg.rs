//! One leg of a data connection, seen as what it carries: payload in, payload out, and the ends.

use rustls::{Connection, ProtocolVersion, SupportedCipherSuite};
use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One read from a socket: four full records, so that a system call is paid for 64 KiB.
const READ_SIZE: usize = 64 * 1024;

/// The most that rustls keeps of a record that has not come whole, rounded up.
const KEPT_RECORD: usize = 32 * 1024;

/// The payload of a full record (RFC 8446 §5.1).
const RECORD_SIZE: usize = 16 * 1024;

/// From so many records left on, small pieces of payload are gathered into full ones: a file that has
/// come so far (1 GiB at the least) can wait for its next piece, and may be a large one.
const GATHER_BELOW: u64 = (1 << 24) - (1 << 20);

/// Records that TLS itself may send on a leg, beside those that carry payload.
const SPARE_RECORDS: u64 = 1024;

/// What a thread needs while it moves bytes, and nobody between two moves.
pub(super) struct Scratch {
    cipher: Box<[u8]>,
    plain: Box<[u8]>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        cipher: vec![0; READ_SIZE].into(),
        plain: vec![0; READ_SIZE + KEPT_RECORD].into(),
    });
}

impl Scratch {
    /// Lends the buffers of this thread.
    pub(super) fn with<T>(action: impl FnOnce(&mut Self) -> T) -> T {
        SCRATCH.with_borrow_mut(action)
    }

    /// The payload that the last read has left here.
    pub(super) fn plain(&self, count: usize) -> &[u8] {
        self.plain.get(..count).unwrap_or_default()
    }
}

/// What a read has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// So much payload is in the scratch buffer.
    Bytes(usize),
    /// An end in order: close_notify, or FIN on a clear leg.
    End,
    /// FIN without close_notify.
    Cut,
}

/// One leg, clear or with TLS that stands.
pub struct Leg {
    stream: TcpStream,
    tls: Option<Box<Tls>>,
    /// Payload of a clear leg that the kernel has not taken yet.
    unsent: Vec<u8>,
    /// Bytes that the kernel has taken.
    sent: u64,
}

struct Tls {
    connection: Connection,
    /// Full records that may still be sent with the keys of TLS 1.2, which cannot be renewed. Once
    /// they are used up rustls closes in order, whatever was to be sent: a truncation by itself.
    /// `None` in TLS 1.3, which renews its keys.
    records_left: Option<u64>,
    /// Payload that waits for a full record; less than one.
    gathered: Vec<u8>,
}

impl Leg {
    /// A leg without TLS.
    pub fn clear(stream: TcpStream) -> Self {
        Self { stream, tls: None, unsent: Vec::new(), sent: 0 }
    }

    /// A leg whose handshake is complete.
    pub fn secured(stream: TcpStream, mut connection: Connection) -> Self {
        // Bounded by never sending before what was sent is flushed.
        connection.set_buffer_limit(None);
        let records_left = record_limit(&connection);
        let tls = Some(Box::new(Tls { connection, records_left, gathered: Vec::new() }));
        Self { stream, tls, unsent: Vec::new(), sent: 0 }
    }

    /// As if all but so many records had been sent.
    #[cfg(test)]
    pub(super) fn leave_records(&mut self, count: u64) {
        self.tls.as_mut().unwrap().records_left = Some(count);
    }

    /// Makes the coming close an orderly one.
    pub(super) fn end_on_close(&self) {
        crate::net::end_on_close(&self.stream);
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Reads payload into the scratch buffer. An error is a reset, or not TLS.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<Came>> {
        let Scratch { cipher, plain } = scratch;
        let Some(tls) = &mut self.tls else {
            let window = plain.get_mut(..READ_SIZE).unwrap_or_default();
            return Poll::Ready(Ok(match ready!(poll_receive(&mut self.stream, cx, window))? {
                0 => Came::End,
                count => Came::Bytes(count),
            }));
        };
        loop {
            // Some may have come with the end of the handshake.
            if let Some(came) = tls.decrypt(&[], plain)? {
                return Poll::Ready(Ok(came));
            }
            let count = match ready!(poll_receive(&mut self.stream, cx, cipher))? {
                0 => return Poll::Ready(Ok(Came::Cut)),
                count => count,
            };
            if let Some(came) = tls.decrypt(cipher.get(..count).unwrap_or_default(), plain)? {
                return Poll::Ready(Ok(came));
            }
        }
    }

    /// Takes payload, all of it. Only when everything before it is flushed.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, plain: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            return tls.take(plain);
        }
        let mut rest = plain;
        while !rest.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, rest)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    self.sent += count as u64;
                    rest = rest.get(count..).unwrap_or_default();
                }
                Poll::Pending => {
                    self.unsent.extend_from_slice(rest);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Nothing is gathered any more: no more payload comes.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => {
                let rest = std::mem::take(&mut tls.gathered);
                tls.encrypt(&rest)
            }
            None => Ok(()),
        }
    }

    /// Ready when the kernel has everything that is not gathered.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, tls, unsent, sent } = self;
        if let Some(tls) = tls {
            while tls.connection.wants_write() {
                let mut socket = Sending { stream: &mut *stream, cx: &mut *cx };
                match tls.connection.write_tls(&mut socket) {
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Ok(count) => *sent += count as u64,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Poll::Pending;
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            return Poll::Ready(Ok(()));
        }
        while !unsent.is_empty() {
            let count = ready!(Pin::new(&mut *stream).poll_write(cx, unsent))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *sent += count as u64;
            unsent.drain(..count);
        }
        // A transfer that has stalled once need not keep the room for ever.
        *unsent = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Says that no more payload comes: close_notify, and FIN. The other direction goes on.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(tls) = &mut self.tls {
            // Says it once, however often it is called.
            tls.connection.send_close_notify();
        }
        ready!(self.poll_flush(cx))?;
        rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write)?;
        Poll::Ready(Ok(()))
    }
}

impl Tls {
    /// Takes what the socket has brought, which is no more than `READ_SIZE`, and puts the payload in
    /// it into `plain`. `None` if there is none yet.
    fn decrypt(&mut self, mut cipher: &[u8], plain: &mut [u8]) -> io::Result<Option<Came>> {
        let mut filled = 0;
        loop {
            let room = plain.get_mut(filled..).unwrap_or_default();
            if room.is_empty() {
                // Payload is shorter than what it comes in, so that all of it has room.
                let lost = io::Error::other("more payload than was received");
                return if cipher.is_empty() { Ok(Some(Came::Bytes(filled))) } else { Err(lost) };
            }
            match self.connection.reader().read(room) {
                // close_notify, and all before it is read: what comes behind it is not looked at.
                Ok(0) if filled == 0 => return Ok(Some(Came::End)),
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if cipher.is_empty() => break,
                // rustls takes some 4 KiB at a time.
                Err(_) => {
                    self.connection.read_tls(&mut cipher)?;
                    self.connection.process_new_packets().map_err(io::Error::other)?;
                }
            }
        }
        Ok((filled > 0).then_some(Came::Bytes(filled)))
    }

    /// Encrypts, now or when there is enough for a full record.
    fn take(&mut self, plain: &[u8]) -> io::Result<()> {
        if self.records_left.is_none_or(|left| left >= GATHER_BELOW) {
            return self.encrypt(plain);
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.extend_from_slice(plain);
        let full = gathered.len() - gathered.len() % RECORD_SIZE;
        self.gathered = gathered.split_off(full);
        self.encrypt(&gathered)
    }

    fn encrypt(&mut self, mut plain: &[u8]) -> io::Result<()> {
        if let Some(left) = &mut self.records_left {
            let records = plain.len().div_ceil(RECORD_SIZE) as u64;
            *left = left.checked_sub(records).ok_or_else(|| {
                io::Error::other("one connection of TLS 1.2 cannot carry more than this")
            })?;
        }
        while !plain.is_empty() {
            let count = self.connection.writer().write(plain)?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            plain = plain.get(count..).unwrap_or_default();
        }
        Ok(())
    }
}

/// See [`Tls::records_left`].
fn record_limit(connection: &Connection) -> Option<u64> {
    match (connection.protocol_version(), connection.negotiated_cipher_suite()) {
        (Some(ProtocolVersion::TLSv1_2), Some(SupportedCipherSuite::Tls12(suite))) => {
            Some(suite.common.confidentiality_limit.saturating_sub(SPARE_RECORDS))
        }
        _ => None,
    }
}

fn poll_receive(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

/// The socket as rustls wants it.
struct Sending<'a, 'b> {
    stream: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Write for Sending<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_write_vectored(self.cx, bytes) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
