//! TLS on one leg of a data connection: how it is begun, and why it could not be.
//!
//! Not here: what is carried inside it (see `pump`).

use super::pump::Leg;
use crate::report::{TlsFault, TlsVersion};
use crate::session::TransferPlan;
use crate::terms::{Side, TransferId};
use crate::tls::failure::Failure;
use crate::tls::server_side::ServerSession;
use rustls::{ClientConfig, Connection, Error, HandshakeKind, ProtocolVersion, ServerConfig};
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
        /// Of the control connection: whom to ask for, and what is known of it.
        session: Arc<ServerSession>,
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
        let (require_resumption, session, shaken) = match self {
            Self::Accept { config, require_resumption } => {
                let accept = TlsAcceptor::from(config).accept(stream);
                let shaken = timeout(limit, accept).await.map(|accepted| {
                    let (stream, connection) = accepted?.into_inner();
                    Ok((stream, Connection::Server(connection)))
                });
                (require_resumption, None, shaken)
            }
            Self::Connect { config, session } => {
                let name = session.name.clone();
                let connect = TlsConnector::from(config).connect(name, stream);
                let shaken = timeout(limit, connect).await.map(|connected| {
                    let (stream, connection) = connected?.into_inner();
                    Ok((stream, Connection::Client(connection)))
                });
                (false, Some(session), shaken)
            }
        };
        let (stream, connection) = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => return Err(failure(&error, session.as_deref())),
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

/// What an error of a handshake means; `session` is the server's, if it is with the server.
fn failure(error: &io::Error, session: Option<&ServerSession>) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match (inner, session) {
        (Some(inner), None) => Failure::with_client(inner, &[]),
        (Some(inner), Some(session)) => Failure::with_server(inner, session),
        (None, _) => Failure::new(TlsFault::Closed, format!("{:?}", error.kind())),
    }
}

#[cfg(test)]
mod tests;
