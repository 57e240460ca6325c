//! Which reports become a line, and what a session's lines have in common.

use super::AuditLog;
use super::line::Line;
use crate::addr::OriginalDst;
use crate::report::{
    Answer, Connection, ControlProtection, PeerText, Report, TlsFault, TransferCommand,
};
use crate::terms::{SessionId, Side};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The outcome of a TLS handshake that nothing was wrong with.
const COMPLETED: &str = "completed";

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
    /// The name that the client asks for.
    asked: Option<PeerText>,
    /// The subject of the server's certificate, and what verifying it led to.
    shown: Option<(PeerText, &'static str)>,
}

impl SessionAudit {
    pub(in crate::telemetry) fn new(id: SessionId, listener: &Arc<str>, log: &AuditLog) -> Self {
        Self { id, listener: Arc::clone(listener), log: log.clone(), known: Arc::default() }
    }

    /// Takes in one fact, and writes the line that it leads to, if it does. `left_out`: how many like
    /// it have been left out before; `None`: this one is.
    pub(in crate::telemetry) fn tell(
        &self,
        report: &Report,
        left_out: Option<u64>,
        now: SystemTime,
    ) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.learn(report);
        let Some(left_out) = left_out else { return };
        if let Some((event, line)) = known.line(self.id, &self.listener, report, left_out, now) {
            self.log.push(event, line.as_bytes());
        }
    }
}

impl Known {
    fn learn(&mut self, report: &Report) {
        match report {
            Report::SessionStarted { client, original_dst }
            | Report::SessionRefused { client, original_dst, .. } => {
                (self.client, self.dialled) = (Some(*client), Some(*original_dst));
            }
            Report::ServerConnected { server, .. } => self.server = Some(*server),
            Report::ProtectionChanged { state } => self.control = Some(*state),
            Report::LoginAccepted { user } => self.user.clone_from(user),
            Report::ClientCertificateAccepted { subject } => {
                self.certificate = Some(subject.clone());
            }
            Report::NameAsked { name } => self.asked = Some(name.clone()),
            Report::ServerCertificateShown { subject, checked, fault } => {
                self.shown = Some((subject.clone(), verification(*checked, *fault)));
            }
            Report::LoginRefused { .. }
            | Report::CommandReceived { .. }
            | Report::Refused { .. }
            | Report::ChangeEnded { .. }
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
        left_out: u64,
        now: SystemTime,
    ) -> Option<(&'static str, String)> {
        let begin_as = |event, user: Option<&PeerText>| {
            let mut line = Line::new(event, now);
            line.number("session", id.0);
            line.word("listener", listener);
            self.say_who(&mut line, user);
            line
        };
        let begin = |event| begin_as(event, self.user.as_ref());
        let mut line = match report {
            Report::LoginAccepted { .. } => {
                let mut line = begin("login");
                line.word("outcome", Answer::Accepted.label());
                line
            }
            Report::LoginRefused { user, code } => {
                let mut line = begin_as("login", user.as_ref());
                line.word("outcome", Answer::Refused.label());
                line.number("code", code);
                line
            }
            Report::Refused { verb, reason, rule } => {
                let mut line = begin("refusal");
                line.word("verb", verb);
                line.word("reason", reason.label());
                if let Some(rule) = rule {
                    line.word("rule", rule);
                }
                line
            }
            Report::ChangeEnded { .. } => change(begin("change"), report),
            Report::DataConnectionEnded { .. } => transfer(begin("transfer"), report),
            Report::HandshakeEnded { .. } => self.handshake(begin("tls"), report),
            Report::ProtectionChanged { .. } => begin("protection"),
            Report::CccObserved { outcome, passed } => {
                let mut line = begin("ccc");
                line.word("outcome", outcome.label());
                if let Some(passed) = passed {
                    line.number("passed", passed);
                }
                line
            }
            Report::SessionEnded { cause, duration }
            | Report::SessionRefused { cause, duration, .. } => {
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
            | Report::TlsRoleTurned { .. }
            | Report::BlindRangeOpened { .. }
            | Report::BlindRangeFailed { .. }
            | Report::NameAsked { .. }
            | Report::ServerCertificateShown { .. }
            | Report::LeafShown { .. }
            | Report::ClientCertificateAccepted { .. } => return None,
        };
        if left_out > 0 {
            line.number("left_out", left_out);
        }
        Some(line.end())
    }

    /// Who, from where, to whom.
    fn say_who(&self, line: &mut Line, user: Option<&PeerText>) {
        if let Some(client) = self.client {
            line.word("client", client);
        }
        if let Some(server) = self.server {
            line.word("server", server);
        }
        line.word("control", self.control.unwrap_or(ControlProtection::Clear).label());
        if let Some(user) = user {
            line.peer_text("user", "user_length", user);
        }
        if let Some(subject) = &self.certificate {
            line.peer_text("certificate", "certificate_length", subject);
        }
    }

    fn handshake(&self, mut line: Line, report: &Report) -> Line {
        if let Report::HandshakeEnded { side, connection, version, resumed, fault } = report {
            line.word("side", side.label());
            line.word("connection", connection.label());
            line.word("outcome", fault.map_or(COMPLETED, TlsFault::label));
            if let Some(version) = version {
                line.word("version", version.label());
            }
            line.number("resumed", resumed);
            match (side, connection) {
                (Side::Client, Connection::Control) => {
                    if let Some(name) = &self.asked {
                        line.peer_text("server_name", "server_name_length", name);
                    }
                }
                // What resumes is not shown anything, and leads to the same server.
                (Side::Server, _) => {
                    if let Some((subject, verification)) = &self.shown {
                        let length = "server_certificate_length";
                        line.peer_text("server_certificate", length, subject);
                        line.word("verification", verification);
                    }
                }
                (Side::Client, Connection::Data) => {}
            }
        }
        line
    }
}

/// What verifying a server's certificate led to.
fn verification(checked: bool, fault: Option<TlsFault>) -> &'static str {
    match fault {
        Some(fault) => fault.label(),
        None if checked => "verified",
        None => "unchecked",
    }
}

fn change(mut line: Line, report: &Report) -> Line {
    if let Report::ChangeEnded { verb, path, renamed, code } = report {
        line.word("verb", verb);
        if let Some(path) = path {
            line.peer_text("path", "path_length", path);
        }
        if let Some(renamed) = renamed {
            line.peer_text("from", "from_length", renamed);
        }
        line.word("outcome", Answer::of(*code).label());
        if let Some(code) = code {
            line.number("code", code);
        }
    }
    line
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
