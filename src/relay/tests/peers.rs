//! Peers on loopback, clear or with TLS, and what they see at the end.

use crate::net::reset_on_close;
use crate::relay::data_tls::LegTls;
use crate::tls::server_side::{ServerSession, ServerSide, ServerSideSettings, Verify};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// Bounds every wait for something that has to come.
pub(in crate::relay) const COMES_WITHIN: Duration = Duration::from_secs(20);

/// The only name that the certificates of [`Party`] bear.
pub(in crate::relay) const NAME: &str = "ftp.example";

pub(in crate::relay) const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];
pub(in crate::relay) const ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
pub(in crate::relay) const ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];

/// A TLS server with a certificate of its own, and a client that trusts it. The client keeps the
/// sessions that it has had.
#[derive(Clone)]
pub(in crate::relay) struct Party {
    pub(in crate::relay) certificate: CertificateDer<'static>,
    pub(in crate::relay) server: Arc<ServerConfig>,
    pub(in crate::relay) client: Arc<ClientConfig>,
}

impl Party {
    pub(in crate::relay) fn new(versions: &[&'static SupportedProtocolVersion]) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([NAME.into()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        Self {
            certificate: cert.der().clone(),
            server: Arc::new(
                ServerConfig::builder_with_protocol_versions(versions)
                    .with_no_client_auth()
                    .with_single_cert(vec![cert.der().clone()], key)
                    .unwrap(),
            ),
            client: Arc::new(
                ClientConfig::builder_with_protocol_versions(versions)
                    .with_root_certificates(roots)
                    .with_no_client_auth(),
            ),
        }
    }

    pub(in crate::relay) fn accept(&self) -> LegTls {
        LegTls::Accept { config: Arc::clone(&self.server), require_resumption: false }
    }

    pub(in crate::relay) fn connect(&self) -> LegTls {
        LegTls::Connect { config: Arc::clone(&self.client), session: Arc::new(session()) }
    }
}

/// That of a control connection to the server of any [`Party`]. What it trusts is the party's.
fn session() -> ServerSession {
    let settings = ServerSideSettings { verify: Verify::Off, ..ServerSideSettings::default() };
    let side = ServerSide::new(&settings).unwrap();
    side.session(Some(NAME), None, Ipv4Addr::LOCALHOST.into()).unwrap()
}

pub(in crate::relay) fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).unwrap()
}

/// Both ends of a connection on loopback: who accepted, and who dialled.
pub(in crate::relay) async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let accepted = timeout(COMES_WITHIN, listener.accept()).await.unwrap().unwrap().0;
    (accepted, dialled)
}

/// How the stream of a peer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::relay) enum End {
    /// close_notify where there is TLS, FIN where there is none.
    Orderly,
    /// FIN without close_notify.
    Cut,
    /// A reset.
    Reset,
}

/// A client or server of FTP, on the far side of a leg.
pub(in crate::relay) enum Peer {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Peer {
    /// The client's part: it begins TLS.
    pub(in crate::relay) async fn connect(
        stream: TcpStream,
        config: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let shaken = TlsConnector::from(config).connect(name(), stream);
        let stream = timeout(COMES_WITHIN, shaken).await.unwrap()?;
        Ok(Self::Tls(Box::new(stream.into())))
    }

    /// The server's part.
    pub(in crate::relay) async fn accept(
        stream: TcpStream,
        config: Arc<ServerConfig>,
    ) -> io::Result<Self> {
        let shaken = TlsAcceptor::from(config).accept(stream);
        let stream = timeout(COMES_WITHIN, shaken).await.unwrap()?;
        Ok(Self::Tls(Box::new(stream.into())))
    }

    fn stream(&mut self) -> &mut dyn Stream {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }

    /// The socket below.
    pub(in crate::relay) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }

    pub(in crate::relay) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    pub(in crate::relay) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = async {
            self.stream().write_all(bytes).await?;
            self.stream().flush().await
        };
        timeout(COMES_WITHIN, sent).await.unwrap()
    }

    /// Says in order that no more comes.
    pub(in crate::relay) async fn end(&mut self) {
        timeout(COMES_WITHIN, self.stream().shutdown()).await.unwrap().unwrap();
    }

    /// Ends with a FIN and no close_notify.
    pub(in crate::relay) async fn cut(&mut self) {
        self.socket().shutdown().await.unwrap();
    }

    pub(in crate::relay) fn reset(mut self) {
        reset_on_close(self.socket());
    }

    /// Just so many bytes.
    pub(in crate::relay) async fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        timeout(COMES_WITHIN, self.stream().read_exact(&mut bytes)).await.unwrap().unwrap();
        bytes
    }

    /// All that still comes, and how it ends.
    pub(in crate::relay) async fn receive_all(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let read = timeout(COMES_WITHIN, self.stream().read_to_end(&mut bytes)).await.unwrap();
        let end = match read.map_err(|error| error.kind()) {
            Ok(_) => End::Orderly,
            Err(io::ErrorKind::UnexpectedEof) => End::Cut,
            Err(io::ErrorKind::ConnectionReset) => End::Reset,
            Err(other) => panic!("{other:?}"),
        };
        (bytes, end)
    }

    /// Reads until nothing more comes, whatever it is and however it ends.
    pub(in crate::relay) async fn drain(&mut self) {
        let mut bytes = Vec::new();
        let _ = timeout(COMES_WITHIN, self.stream().read_to_end(&mut bytes)).await.unwrap();
    }

    /// True if the handshake has resumed an earlier session.
    pub(in crate::relay) fn has_resumed(&self) -> bool {
        let kind = match self {
            Self::Clear(_) => None,
            Self::Tls(stream) => stream.get_ref().1.handshake_kind(),
        };
        kind == Some(rustls::HandshakeKind::Resumed)
    }
}
