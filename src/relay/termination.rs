//! TLS of one session that ends here: what its handshakes need, and what came of them.
//!
//! Not here: when they begin (see [`crate::session`]), and the bytes (see `layer`).

use super::control::Control;
use super::data_tls::LegTls;
use super::openings::Openings;
use crate::report::{Connection, LeafSource, PeerText, Report, TlsFault, TlsVersion};
use crate::session::Certificate;
use crate::telemetry::SessionTelemetry;
use crate::terms::Side;
use crate::tls::client_side::{ClientSession, ClientSide, Reuse, Shown};
use crate::tls::failure::Failure;
use crate::tls::leaf::SignedBy;
use crate::tls::leaf_cache::Source;
use crate::tls::server_side::{ServerSession, ServerSide};
use crate::tls::subject;
use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Servers that are remembered to want a client's certificate.
const MOST_REMEMBERED: usize = 1024;

/// How the sessions of one listener end TLS.
#[derive(Debug, Default)]
pub struct Termination {
    /// Towards clients, if TLS ends on that side.
    pub client: Option<ClientSide>,
    /// Towards servers, if TLS ends on that side.
    pub server: Option<ServerSide>,
    /// Servers that want a certificate of their client which the gateway has not, if their sessions
    /// are to be carried unread from then on.
    pub wanting: Option<Mutex<HashSet<SocketAddr>>>,
}

impl Termination {
    /// True if the sessions of this server are carried unread.
    pub(super) fn wants_certificate(&self, server: SocketAddr) -> bool {
        self.wanting.as_ref().is_some_and(|wanting| {
            wanting.lock().unwrap_or_else(PoisonError::into_inner).contains(&server)
        })
    }

    fn remember(&self, server: SocketAddr) {
        if let Some(wanting) = &self.wanting {
            let mut wanting = wanting.lock().unwrap_or_else(PoisonError::into_inner);
            if wanting.len() < MOST_REMEMBERED {
                wanting.insert(server);
            }
        }
    }
}

/// TLS of one session.
pub(super) struct SessionTls {
    listener: Arc<Termination>,
    /// The server's name in the configuration, if it has one there.
    host: Option<String>,
    /// The address that the client dialled.
    dialled: IpAddr,
    server: Option<SocketAddr>,
    /// The name that the client asks for.
    asked: Option<String>,
    towards_server: Option<Arc<ServerSession>>,
    /// What the server has shown.
    certificate: Option<CertificateDer<'static>>,
    towards_client: Option<ClientSession>,
}

impl SessionTls {
    pub(super) fn new(listener: Arc<Termination>, host: Option<String>, dialled: IpAddr) -> Self {
        Self {
            listener,
            host,
            dialled,
            server: None,
            asked: None,
            towards_server: None,
            certificate: None,
            towards_client: None,
        }
    }

    /// The server is this one. True if its sessions are carried unread.
    pub(super) fn on_server(&mut self, server: SocketAddr) -> bool {
        self.server = Some(server);
        self.listener.wants_certificate(server)
    }

    /// The client's hello has been read; returns the name that it asks for.
    pub(super) fn on_hello(&mut self, client: &Control) -> Option<&str> {
        self.asked = client.layer().asked_name();
        self.asked.as_deref()
    }

    /// Begins TLS towards the server.
    pub(super) fn connect(&mut self, server: &mut Control) -> Result<(), Failure> {
        let (Some(settings), Some(address)) = (&self.listener.server, self.server) else {
            return Err(not_set_up());
        };
        let (asked, host) = (self.asked.as_deref(), self.host.as_deref());
        let session = settings.session(asked, host, address.ip())?;
        let begun = server.connect_tls(Arc::clone(&session.config), session.name.clone());
        let failed = begun.map_err(|error| Failure::with_server(&error, &session));
        self.towards_server = Some(Arc::new(session));
        failed
    }

    /// Answers the client's hello.
    pub(super) async fn present(
        &mut self,
        client: &mut Control,
        certificate: Certificate,
    ) -> Result<Option<LeafSource>, Failure> {
        let settings = self.listener.client.as_ref().ok_or_else(not_set_up)?;
        let (name, address) = (self.asked.as_deref(), self.dialled);
        let shown = match (certificate, &self.certificate) {
            (Certificate::Mirrored { trusted }, Some(server)) => {
                let by = if trusted { SignedBy::LocalCa } else { SignedBy::Untrusted };
                Shown::InPlaceOf { server, by }
            }
            (Certificate::Mirrored { .. }, None) => {
                return Err(Failure::new(
                    TlsFault::Internal,
                    "the server has shown no certificate",
                ));
            }
            (Certificate::Own, _) => Shown::Own { name, address },
            (Certificate::Refusal, _) => Shown::Refusal { name, address },
        };
        let session = settings.session(shown, SystemTime::now()).await;
        // What rustls does not know of it sends no alert for.
        let session = session.inspect_err(|failure| client.send(&failure.alert()))?;
        let presented = client.present(Arc::clone(&session.control));
        presented.map_err(|error| Failure::with_client(&error, client.layer().hello()))?;
        let leaf = session.leaf.map(|source| match source {
            Source::Issued => LeafSource::Issued,
            Source::Cache => LeafSource::Cache,
        });
        self.towards_client = Some(session);
        Ok(leaf)
    }

    /// TLS stands on this side: its data connections may have it too. Returns whether the peer is
    /// trusted.
    pub(super) fn on_established(
        &mut self,
        side: Side,
        control: &Control,
        openings: &mut Openings,
        telemetry: &SessionTelemetry,
    ) -> bool {
        let Some(connection) = control.layer().connection() else { return false };
        self.tell_peer(side, telemetry);
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        if side == Side::Client
            && let Some(subject) = shown.and_then(subject::text)
        {
            let subject = PeerText::new(&subject);
            telemetry.record(&Report::ClientCertificateAccepted { subject });
        }
        telemetry.record(&Report::HandshakeEnded {
            side,
            connection: Connection::Control,
            version: version(connection.protocol_version()),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            fault: None,
        });
        match (connection, &self.towards_server, &self.towards_client) {
            (rustls::Connection::Client(connection), Some(session), _) => {
                self.certificate = connection
                    .peer_certificates()
                    .and_then(|chain| chain.first())
                    .map(|certificate| certificate.clone().into_owned());
                let (config, session) = (session.data(connection), Arc::clone(session));
                let distrust = session.distrust();
                openings.set_tls(side, LegTls::Connect { config, session });
                if let Some(failure) = &distrust {
                    tracing::warn!(
                        reason = failure.fault.label(),
                        "the server's certificate is not trusted, which its client is shown: {failure}"
                    );
                }
                distrust.is_none()
            }
            (rustls::Connection::Server(_), _, Some(session)) => {
                let reuse = self.listener.client.as_ref().map(ClientSide::reuse);
                let require_resumption = reuse == Some(Reuse::Require);
                let config = Arc::clone(&session.data);
                openings.set_tls(side, LegTls::Accept { config, require_resumption });
                true
            }
            _ => false,
        }
    }

    /// Tells who was asked for, or who answered, ahead of what came of the handshake.
    fn tell_peer(&self, side: Side, telemetry: &SessionTelemetry) {
        match (side, &self.asked, &self.towards_server) {
            (Side::Client, Some(name), _) => {
                let name = PeerText::new(name.as_bytes());
                telemetry.record(&Report::NameAsked { name });
            }
            (Side::Server, _, Some(session)) => {
                let Some((certificate, checked)) = session.shown() else { return };
                let Some(subject) = subject::text(certificate) else { return };
                let fault = session.distrust().map(|failure| failure.fault);
                let subject = PeerText::new(&subject);
                telemetry.record(&Report::ServerCertificateShown { subject, checked, fault });
            }
            (Side::Client, None, _) | (Side::Server, _, None) => {}
        }
    }

    /// A data connection follows, which has to have something to resume: some servers give no ticket
    /// with a data connection.
    pub(super) fn provide_ticket(&self, server: &mut Control) {
        if self.towards_server.as_ref().is_some_and(|session| session.is_short_of_tickets())
            && let Err(error) = server.repeat_ticket()
        {
            tracing::debug!(%error, "the server's ticket cannot be used again");
        }
    }

    /// Why TLS with this peer failed.
    pub(super) fn explain(&self, side: Side, control: &Control, error: &rustls::Error) -> Failure {
        let (mut failure, first, key) = match (side, &self.towards_server) {
            (Side::Client, _) => {
                let hello = control.layer().hello();
                (Failure::with_client(error, hello), hello, "client_start")
            }
            (Side::Server, Some(session)) => {
                let first = control.received();
                (Failure::with_server_saying(error, session, first), first, "server_start")
            }
            (Side::Server, None) => return not_set_up(),
        };
        if is_text(first) {
            let hint = format!("; text where TLS is due: does tls.{key} say what this peer does?");
            failure.detail.push_str(&hint);
        }
        failure
    }

    /// Tells that TLS failed, and remembers what it says of the server.
    pub(super) fn on_failed(&self, side: Side, failure: &Failure, telemetry: &SessionTelemetry) {
        let reason = failure.fault.label();
        tracing::warn!(side = side.label(), reason, "no TLS: {failure}");
        self.tell_peer(side, telemetry);
        let (connection, fault) = (Connection::Control, Some(failure.fault));
        telemetry.record(&Report::HandshakeEnded {
            side,
            connection,
            version: None,
            resumed: false,
            fault,
        });
        let session = self.towards_server.as_ref();
        let wanted = session.is_some_and(|session| session.wanted_certificate());
        if let (Side::Server, true, Some(server)) = (side, wanted, self.server) {
            self.listener.remember(server);
        }
    }
}

/// True if these first bytes are those of a line.
fn is_text(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
}

fn not_set_up() -> Failure {
    Failure::new(TlsFault::Internal, "TLS is not set up on this side")
}

fn version(version: Option<ProtocolVersion>) -> Option<TlsVersion> {
    match version {
        Some(ProtocolVersion::TLSv1_2) => Some(TlsVersion::Tls12),
        Some(ProtocolVersion::TLSv1_3) => Some(TlsVersion::Tls13),
        _ => None,
    }
}
