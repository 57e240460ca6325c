//! What lies over the bytes of one control connection: text, or TLS that ends here. No I/O.
//!
//! TLS is taken record by record, so that never a byte behind the one that ends it is taken with it:
//! after CCC the text may stand in the same segment as the close_notify, or follow without one
//! (RFC 4217 §12.3 and the peers that keep to it or do not).
//!
//! Not here: what is sent and received on the socket (see `control`).

use crate::tls::record::{self, Front};
use bytes::{Buf, BytesMut};
use rustls::pki_types::ServerName;
use rustls::server::{Accepted, Acceptor};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig};
use std::io::{Read, Write};
use std::sync::Arc;

/// The longest hello that is read. The largest in use, with post-quantum keys and a session ticket,
/// have some 4 KiB.
const LONGEST_HELLO: usize = 32 * 1024;

/// What lies over a control connection.
#[derive(Default)]
pub(super) enum Layer {
    /// The bytes are text.
    #[default]
    Text,
    /// The client's hello is awaited, or has been read and is not answered yet.
    Hello(Box<Hello>),
    /// TLS, from the first answer on.
    Tls(Box<Tls>),
    /// TLS that has failed: whatever else comes is nobody's.
    Broken,
}

/// A hello that is being read.
#[derive(Default)]
pub(super) struct Hello {
    acceptor: Acceptor,
    accepted: Option<Accepted>,
    /// Its bytes, for whom it is given back to, and for the story of a failure.
    raw: Vec<u8>,
}

/// TLS that ends here.
pub(super) struct Tls {
    connection: Connection,
    /// The client's hello, until TLS is established.
    hello: Vec<u8>,
    is_established: bool,
    /// The peer's close_notify has come.
    peer_ended: bool,
    /// The peer may end TLS, with a close_notify or without, and go on in text.
    may_end: bool,
    /// Our close_notify is sent: what follows it is text.
    ended: bool,
    /// Text of the peer's stands where none is due.
    is_hasty: bool,
}

/// What has become of the bytes received.
#[derive(Debug)]
pub(super) enum Step {
    /// More bytes of the peer are needed.
    More,
    /// So many bytes of its text stand in the buffer.
    Text(usize),
    /// The text that follows is not covered by TLS: the layer is gone.
    Clear,
    /// Something else has happened.
    News(News),
}

/// What a peer's handshake, or the end of TLS, leads to.
#[derive(Debug)]
pub(super) enum News {
    /// The client's hello has been read.
    Hello,
    /// TLS stands.
    Established,
    /// The peer has ended TLS without being asked to go on in text.
    Ended,
    /// The peer goes on in text without having been asked to.
    Hasty,
    /// TLS is broken.
    Failed(rustls::Error),
}

/// What is wrong with a peer that sends something else than TLS.
pub(super) fn garbled() -> rustls::Error {
    rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)
}

fn not_tls() -> Step {
    Step::News(News::Failed(garbled()))
}

impl Layer {
    /// Begins TLS towards a server; its hello is written to `unsent`.
    pub(super) fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        unsent: &mut BytesMut,
    ) -> Result<Self, rustls::Error> {
        let connection = Connection::Client(ClientConnection::new(config, name)?);
        Ok(Self::Tls(Box::new(Tls::new(connection, Vec::new(), unsent))))
    }

    /// Answers the hello that has been read.
    pub(super) fn present(
        &mut self,
        config: Arc<ServerConfig>,
        unsent: &mut BytesMut,
    ) -> Result<(), rustls::Error> {
        let Self::Hello(hello) = self else { return Ok(()) };
        let Some(accepted) = hello.accepted.take() else { return Ok(()) };
        let raw = std::mem::take(&mut hello.raw);
        match accepted.into_connection(config) {
            Ok(connection) => {
                let connection = Connection::Server(connection);
                *self = Self::Tls(Box::new(Tls::new(connection, raw, unsent)));
                Ok(())
            }
            Err((error, mut alert)) => {
                hello.raw = raw;
                // Into memory.
                let _ = alert.write_all(&mut Sink(unsent));
                Err(error)
            }
        }
    }

    /// The name that the hello asks for.
    pub(super) fn asked_name(&self) -> Option<String> {
        let Self::Hello(hello) = self else { return None };
        hello.accepted.as_ref()?.client_hello().server_name().map(str::to_owned)
    }

    /// The bytes of the hello, as far as they have come.
    pub(super) fn hello(&self) -> &[u8] {
        match self {
            Self::Hello(hello) => &hello.raw,
            Self::Tls(tls) => &tls.hello,
            Self::Text | Self::Broken => &[],
        }
    }

    /// TLS as it stands.
    pub(super) fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Tls(tls) => Some(&tls.connection),
            Self::Text | Self::Hello(_) | Self::Broken => None,
        }
    }

    /// Writes `text` as it has to go over the wire now.
    pub(super) fn send(&mut self, text: &[u8], unsent: &mut BytesMut) {
        match self {
            Self::Tls(tls) if tls.may_end => {
                tls.end(unsent);
                unsent.extend_from_slice(text);
            }
            Self::Tls(tls) => {
                // Into memory without a bound: who sends looks at what is unsent.
                let _ = tls.connection.writer().write_all(text);
                tls.flush(unsent);
            }
            Self::Text | Self::Hello(_) => unsent.extend_from_slice(text),
            Self::Broken => {}
        }
    }

    /// From now on the peer may end TLS, with a close_notify or without, and go on in text. Ours goes
    /// ahead of the next text to it, or when the peer has ended, or with [`end`](Self::end).
    pub(super) fn let_end(&mut self) {
        if let Self::Tls(tls) = self {
            tls.may_end = true;
        }
    }

    /// Sends our close_notify: what is sent after it is text.
    pub(super) fn end(&mut self, unsent: &mut BytesMut) {
        if let Self::Tls(tls) = self {
            tls.end(unsent);
        }
    }

    /// Nothing more is understood of the peer, or said to it.
    pub(super) fn give_up(&mut self) {
        *self = Self::Broken;
    }

    /// Takes of `wire` what can be taken in one step.
    pub(super) fn step(
        &mut self,
        wire: &mut BytesMut,
        buffer: &mut [u8],
        unsent: &mut BytesMut,
    ) -> Step {
        let step = match self {
            Self::Text => return Step::Clear,
            Self::Hello(hello) => hello.step(wire, unsent),
            Self::Tls(tls) => tls.step(wire, buffer, unsent),
            Self::Broken => {
                wire.clear();
                Step::More
            }
        };
        if matches!(step, Step::Clear) {
            *self = Self::Text;
        }
        step
    }
}

impl Hello {
    fn step(&mut self, wire: &mut BytesMut, unsent: &mut BytesMut) -> Step {
        if self.accepted.is_some() {
            // Whatever comes ahead of the answer is kept for it.
            return Step::More;
        }
        let length = match record::front(wire) {
            Front::Incomplete => return Step::More,
            Front::Record(length) => length,
            Front::Text | Front::Garbled => {
                self.raw.extend_from_slice(wire);
                return not_tls();
            }
        };
        let record = wire.split_to(length);
        self.raw.extend_from_slice(&record);
        if self.raw.len() > LONGEST_HELLO {
            return not_tls();
        }
        let mut bytes = &record[..];
        while !bytes.is_empty() {
            match self.acceptor.read_tls(&mut bytes) {
                Ok(count) if count > 0 => {}
                Ok(_) | Err(_) => return not_tls(),
            }
        }
        match self.acceptor.accept() {
            Ok(None) => Step::More,
            Ok(Some(accepted)) => {
                self.accepted = Some(accepted);
                Step::News(News::Hello)
            }
            Err((error, mut alert)) => {
                // Into memory.
                let _ = alert.write_all(&mut Sink(unsent));
                Step::News(News::Failed(error))
            }
        }
    }
}

impl Tls {
    fn new(connection: Connection, hello: Vec<u8>, unsent: &mut BytesMut) -> Self {
        let mut connection = connection;
        connection.set_buffer_limit(None);
        let mut tls = Self {
            connection,
            hello,
            is_established: false,
            peer_ended: false,
            may_end: false,
            ended: false,
            is_hasty: false,
        };
        tls.flush(unsent);
        tls
    }

    /// Moves what TLS has to say to `unsent`; behind our close_notify it has nothing to say.
    fn flush(&mut self, unsent: &mut BytesMut) {
        while !self.ended && self.connection.wants_write() {
            if self.connection.write_tls(&mut Sink(unsent)).is_err() {
                return;
            }
        }
    }

    fn step(&mut self, wire: &mut BytesMut, buffer: &mut [u8], unsent: &mut BytesMut) -> Step {
        // An error is that there is nothing, or the end, which is told below.
        if let Ok(count) = self.connection.reader().read(buffer)
            && count > 0
        {
            return Step::Text(count);
        }
        if self.peer_ended {
            return if self.may_end { self.clear(unsent) } else { Step::More };
        }
        match record::front(wire) {
            Front::Incomplete => Step::More,
            Front::Record(length) => {
                let record = wire.split_to(length);
                self.take(&record, unsent)
            }
            Front::Text if self.may_end => self.clear(unsent),
            Front::Text if self.is_hasty => Step::More,
            Front::Text => {
                self.is_hasty = true;
                Step::News(News::Hasty)
            }
            Front::Garbled => not_tls(),
        }
    }

    /// The peer has gone on in text; so do we.
    fn clear(&mut self, unsent: &mut BytesMut) -> Step {
        self.end(unsent);
        Step::Clear
    }

    fn end(&mut self, unsent: &mut BytesMut) {
        if !self.ended {
            self.connection.send_close_notify();
            self.flush(unsent);
            self.ended = true;
            self.may_end = true;
        }
    }

    fn take(&mut self, record: &[u8], unsent: &mut BytesMut) -> Step {
        let mut bytes = record;
        while bytes.has_remaining() {
            match self.connection.read_tls(&mut bytes) {
                Ok(count) if count > 0 => {}
                Ok(_) | Err(_) => return not_tls(),
            }
            let processed = self.connection.process_new_packets();
            // Answers, and the alert that tells the peer of its fault.
            self.flush(unsent);
            match processed {
                Ok(state) => self.peer_ended |= state.peer_has_closed(),
                Err(error) => return Step::News(News::Failed(error)),
            }
        }
        if !self.is_established && !self.connection.is_handshaking() {
            self.is_established = true;
            self.hello = Vec::new();
            return Step::News(News::Established);
        }
        if self.peer_ended && !self.may_end {
            return Step::News(News::Ended);
        }
        // There may be text now.
        Step::Text(0)
    }
}

/// Memory that can be written to.
struct Sink<'a>(&'a mut BytesMut);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
