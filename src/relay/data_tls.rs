//! TLS on one leg of a data connection: how it is begun, and why it could not be.
//!
//! Not here: what is carried inside it (see `pump`).

use super::pump::Leg;
use crate::report::{TlsFault, TlsVersion};
use crate::session::TransferPlan;
use crate::terms::{Side, TransferId};
use crate::tls::failure::Failure;
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Connection, Error, HandshakeKind,
    PeerIncompatible, ProtocolVersion, ServerConfig,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A peer that has just connected for a transfer shakes hands at once, or never will.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// How TLS is begun on the data connections of one side.
#[derive(Clone)]
pub(super) enum LegTls {
    /// Towards the client: the gateway is the TLS server, whoever dialled (RFC 4217 §7).
    Accept {
        /// What is shown, and which sessions may be resumed.
        config: Arc<ServerConfig>,
        /// A handshake that resumes none is refused (case 37).
        require_resumption: bool,
    },
    /// Towards the server.
    Connect {
        /// Whom to trust, and which session to resume.
        config: Arc<ClientConfig>,
        /// Whom to ask for.
        name: ServerName<'static>,
    },
}

/// How TLS is begun on either side, as far as it is known.
#[derive(Default)]
pub(super) struct LegsTls {
    client: Option<LegTls>,
    server: Option<LegTls>,
}

impl LegsTls {
    pub(super) fn set(&mut self, side: Side, tls: LegTls) {
        match side {
            Side::Client => self.client = Some(tls),
            Side::Server => self.server = Some(tls),
        }
    }

    /// What the leg of `side` begins with, if `plan` has it protected.
    pub(super) fn of(&self, plan: &TransferPlan, side: Side) -> Option<LegTls> {
        let tls = match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        };
        tls.clone().filter(|_| plan.is_protected(side))
    }
}

/// What both ends of a leg have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) version: TlsVersion,
    pub(super) resumed: bool,
}

impl LegTls {
    /// Shakes hands within `limit`. What fails is reset.
    pub(super) async fn shake_hands(
        self,
        stream: TcpStream,
        limit: Duration,
    ) -> Result<(Leg, Agreed), Failure> {
        // The last records of a flight are small and must not wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let side = match self {
            Self::Accept { .. } => Side::Client,
            Self::Connect { .. } => Side::Server,
        };
        let (require_resumption, shaken) = match self {
            Self::Accept { config, require_resumption } => {
                let accept = TlsAcceptor::from(config).accept(stream);
                let shaken = timeout(limit, accept).await.map(|accepted| {
                    let (stream, connection) = accepted?.into_inner();
                    Ok((stream, Connection::Server(connection)))
                });
                (require_resumption, shaken)
            }
            Self::Connect { config, name } => {
                let connect = TlsConnector::from(config).connect(name, stream);
                let shaken = timeout(limit, connect).await.map(|connected| {
                    let (stream, connection) = connected?.into_inner();
                    Ok((stream, Connection::Client(connection)))
                });
                (false, shaken)
            }
        };
        let (stream, connection) = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => return Err(failure(&error, side)),
            Err(_) => {
                let detail = format!("no handshake within {} s", limit.as_secs_f32());
                return Err(Failure::new(TlsFault::Timeout, detail));
            }
        };
        let agreed = agreed(&connection)?;
        if require_resumption && !agreed.resumed {
            let detail = "a full handshake where a resumed one is due";
            return Err(Failure::new(TlsFault::NotResumed, detail));
        }
        Ok((Leg::secured(stream, connection), agreed))
    }
}

fn agreed(connection: &Connection) -> Result<Agreed, Failure> {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        other => {
            return Err(Failure::new(TlsFault::Internal, format!("agreed on version {other:?}")));
        }
    };
    let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    Ok(Agreed { version, resumed })
}

/// The story behind the fault, which the session's own line tells in a word.
pub(super) fn log_failure(transfer: TransferId, side: Side, failure: &Failure) {
    let (side, reason) = (side.label(), failure.fault.label());
    tracing::warn!(%transfer, side, reason, "no TLS on a data connection: {failure}");
}

/// What an error of the handshake with `side` means. `Debug` of rustls' errors escapes what is a
/// peer's.
fn failure(error: &io::Error, side: Side) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(inner) if side == Side::Client => Failure::with_client(inner, &[]),
        Some(inner) => Failure::new(servers_fault(inner), format!("{inner:?}")),
        None => Failure::new(TlsFault::Closed, format!("{:?}", error.kind())),
    }
}

fn servers_fault(error: &Error) -> TlsFault {
    match error {
        Error::InvalidCertificate(error) => certificate_fault(error),
        Error::PeerIncompatible(reason) => match reason {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic => TlsFault::ProtocolVersion,
            _ => TlsFault::NoCommonCipher,
        },
        Error::NoApplicationProtocol => TlsFault::WrongProtocol,
        Error::AlertReceived(alert) => alert_fault(*alert),
        Error::InvalidMessage(_)
        | Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => TlsFault::Garbled,
        _ => TlsFault::Internal,
    }
}

fn certificate_fault(error: &CertificateError) -> TlsFault {
    match error {
        // The second is one that only bears the name of a root, as one does that was made anew.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            TlsFault::UntrustedIssuer
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::WrongName
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFault::Expired,
        _ => TlsFault::BadCertificate,
    }
}

fn alert_fault(alert: AlertDescription) -> TlsFault {
    match alert {
        AlertDescription::ProtocolVersion => TlsFault::ProtocolVersion,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            TlsFault::NoCommonCipher
        }
        AlertDescription::NoApplicationProtocol => TlsFault::WrongProtocol,
        AlertDescription::CertificateRequired => TlsFault::ClientCertificateRequested,
        _ => TlsFault::AlertReceived,
    }
}

#[cfg(test)]
mod tests;
