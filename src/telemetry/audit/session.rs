//! Which reports become a line, and what a session's lines have in common.

use super::AuditLog;
use super::line::Line;
use crate::addr::OriginalDst;
use crate::report::{Connection, ControlProtection, PeerText, Report, TransferCommand};
use crate::terms::SessionId;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The audit of one session. Cheap to clone.
#[derive(Clone)]
pub(in crate::telemetry) struct SessionAudit {
    id: SessionId,
    listener: Arc<str>,
    log: AuditLog,
    known: Arc<Mutex<Known>>,
}

/// What has been told of the session so far.
#[derive(Default)]
struct Known {
    client: Option<SocketAddr>,
    dialled: Option<OriginalDst>,
    server: Option<SocketAddr>,
    control: Option<ControlProtection>,
    user: Option<PeerText>,
    certificate: Option<PeerText>,
}

impl SessionAudit {
    pub(in crate::telemetry) fn new(id: SessionId, listener: &Arc<str>, log: &AuditLog) -> Self {
        Self { id, listener: Arc::clone(listener), log: log.clone(), known: Arc::default() }
    }

    /// Writes the line that `report` leads to, if it does.
    pub(in crate::telemetry) fn tell(&self, report: &Report, now: SystemTime) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.learn(report);
        if let Some(line) = known.line(self.id, &self.listener, report, now) {
            self.log.push(line.as_bytes());
        }
    }
}

impl Known {
    fn learn(&mut self, report: &Report) {
        match report {
            Report::SessionStarted { client, original_dst } => {
                (self.client, self.dialled) = (Some(*client), Some(*original_dst));
            }
            Report::ServerConnected { server, .. } => self.server = Some(*server),
            Report::ProtectionChanged { state } => self.control = Some(*state),
            Report::LoginAccepted { user } => self.user.clone_from(user),
            Report::ClientCertificateAccepted { subject } => {
                self.certificate = Some(subject.clone());
            }
            Report::CommandReceived { .. }
            | Report::Refused { .. }
            | Report::LineRewritten { .. }
            | Report::LineDistrusted { .. }
            | Report::PinholeOpened { .. }
            | Report::PinholeClosed { .. }
            | Report::DataConnectionStarted { .. }
            | Report::TransferNamed { .. }
            | Report::DataConnectionEnded { .. }
            | Report::CccObserved { .. }
            | Report::TlsRoleTurned { .. }
            | Report::BlindRangeOpened { .. }
            | Report::BlindRangeFailed { .. }
            | Report::HandshakeEnded { .. }
            | Report::LeafShown { .. }
            | Report::SessionEnded { .. } => {}
        }
    }

    fn line(
        &self,
        id: SessionId,
        listener: &str,
        report: &Report,
        now: SystemTime,
    ) -> Option<String> {
        let begin = |event| {
            let mut line = Line::new(event, now);
            line.number("session", id.0);
            line.word("listener", listener);
            self.say_who(&mut line);
            line
        };
        let line = match report {
            Report::LoginAccepted { .. } => begin("login"),
            Report::Refused { reason } => {
                let mut line = begin("refusal");
                line.word("reason", reason.label());
                line
            }
            Report::DataConnectionEnded { .. } => transfer(begin("transfer"), report),
            Report::HandshakeEnded { .. } => handshake(begin("tls"), report),
            Report::SessionEnded { cause, duration } => {
                let mut line = begin("session_end");
                if let Some(dialled) = &self.dialled {
                    line.word("dialled", dialled);
                }
                line.word("reason", cause.label());
                line.seconds(*duration);
                line
            }
            Report::SessionStarted { .. }
            | Report::ServerConnected { .. }
            | Report::CommandReceived { .. }
            | Report::LineRewritten { .. }
            | Report::LineDistrusted { .. }
            | Report::PinholeOpened { .. }
            | Report::PinholeClosed { .. }
            | Report::DataConnectionStarted { .. }
            | Report::TransferNamed { .. }
            | Report::ProtectionChanged { .. }
            | Report::CccObserved { .. }
            | Report::TlsRoleTurned { .. }
            | Report::BlindRangeOpened { .. }
            | Report::BlindRangeFailed { .. }
            | Report::LeafShown { .. }
            | Report::ClientCertificateAccepted { .. } => return None,
        };
        Some(line.end())
    }

    /// Who, from where, to whom.
    fn say_who(&self, line: &mut Line) {
        if let Some(client) = self.client {
            line.word("client", client);
        }
        if let Some(server) = self.server {
            line.word("server", server);
        }
        line.word("control", self.control.unwrap_or(ControlProtection::Clear).label());
        if let Some(user) = &self.user {
            line.peer_text("user", "user_length", user);
        }
        if let Some(subject) = &self.certificate {
            line.peer_text("certificate", "certificate_length", subject);
        }
    }
}

fn transfer(mut line: Line, report: &Report) -> Line {
    if let Report::DataConnectionEnded {
        transfer,
        command,
        path: data_path,
        mode,
        protection,
        outcome,
        bytes,
        duration,
    } = report
    {
        line.number("transfer", transfer);
        if let Some(TransferCommand { verb, path }) = command {
            line.word("verb", verb);
            if let Some(path) = path {
                line.peer_text("path", "path_length", path);
            }
        }
        line.word("outcome", outcome.label());
        if let Some(bytes) = bytes {
            line.number("upload", bytes.upload);
            line.number("download", bytes.download);
        }
        line.word("protection", protection.label());
        line.word("mode", mode.label());
        line.word("data_path", data_path.label());
        line.seconds(*duration);
    }
    line
}

fn handshake(mut line: Line, report: &Report) -> Line {
    if let Report::HandshakeEnded { side, connection, version, resumed, fault } = report {
        line.word("side", side.label());
        line.word("connection", Connection::label(*connection));
        line.word("outcome", fault.map_or("completed", |fault| fault.label()));
        if let Some(version) = version {
            line.word("version", version.label());
        }
        line.number("resumed", resumed);
    }
    line
}
