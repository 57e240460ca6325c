//! TLS 1.3 as the measuring client speaks it: one suite, no verification, each data connection
//! resumes the one before it.

use super::verify_nothing::VerifyNothing;
use super::{Outcome, discard_all};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What all connections of one session share.
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// A fresh one resumes nothing: the control connection's handshake is a full one.
    pub(crate) fn new(cipher: &str, server: SocketAddr) -> Outcome<Self> {
        static BASE: OnceLock<Result<ClientConfig, String>> = OnceLock::new();
        let mut config = BASE.get_or_init(|| base(cipher)).clone()?;
        config.resumption = Resumption::store(Arc::new(Newest::default()));
        Ok(Self { config: Arc::new(config), name: server.ip().into() })
    }

    /// Shakes hands to the end.
    pub(crate) fn connect(
        &self,
        mut stream: TcpStream,
    ) -> Outcome<StreamOwned<ClientConnection, TcpStream>> {
        stream.set_nodelay(true)?;
        let mut tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        while tls.is_handshaking() || tls.wants_write() {
            tls.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(tls, stream))
    }
}

fn base(cipher: &str) -> Result<ClientConfig, String> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()) == suite_name(cipher));
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| format!("{cipher}: {error}"))?;
    let verifier = Arc::new(VerifyNothing::new(provider));
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// rustls' word for a suite of TLS 1.3.
fn suite_name(cipher: &str) -> String {
    cipher.replacen("TLS_", "TLS13_", 1)
}

pub(crate) fn is_resumed(stream: &StreamOwned<ClientConnection, TcpStream>) -> bool {
    stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// Decrypts until the end and returns how much there was. A peer that ends without close_notify is no
/// concern of this bench.
pub(crate) fn read_all(mut stream: StreamOwned<ClientConnection, TcpStream>) -> Outcome<u64> {
    let mut buffer = [0; 4096];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes += count as u64,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        }
    }
    // The peer has said all it had to say, and may be gone.
    stream.conn.send_close_notify();
    let _ = stream.conn.write_tls(&mut stream.sock);
    let _ = discard_all(&stream.sock);
    Ok(bytes)
}

/// A connection as the client reads and writes it.
pub(crate) enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The newest ticket, which rustls uses once: every data connection has to bring the next one's.
#[derive(Debug, Default)]
struct Newest(Mutex<Option<Tls13ClientSessionValue>>);

impl ClientSessionStore for Newest {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
