//! One session's reports: each becomes one log line and the metrics that it moves, and an audit line
//! where it is one of those.

use super::audit::SessionAudit;
use super::gauges::Gauges;
use super::live::{LiveSession, RunningBytes};
use super::metrics::{BlindOutcome, HandshakeEnd, ListenerMetrics, Metrics};
use super::{ListenerTelemetry, Observer, words};
use crate::limits::{Flood, Rate};
use crate::report::{Answer, CccOutcome, CloseCause, Connection, Distrust, Report, TlsFault};
use crate::terms::{ByteCounts, DataPath, Direction, SessionId, Side, TransferId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tracing::{Span, debug, error_span, field, info, warn};

/// Lines of one session about what its peers do that is refused or not believed: so many at once, and
/// one each second. What a person reads of one session is far below it; the metrics count on.
const SESSION_LINES: Rate = Rate::per_minute(60);

/// Lines about clients of one listener that have no session, for each cause.
const REFUSAL_LINES: Rate = Rate::per_minute(60);

/// The telemetry of one session. Cheap to clone: a data connection that outlives its session keeps
/// one. What the session still adds to gauges is taken away with the last clone.
#[derive(Clone)]
pub struct SessionTelemetry {
    id: SessionId,
    span: Span,
    metrics: Arc<Metrics>,
    listener: Arc<ListenerMetrics>,
    gauges: Arc<Mutex<Gauges>>,
    lines: Arc<Mutex<Flood>>,
    /// Those that are only told at `debug`, so that they take no room from the others.
    odd_lines: Arc<Mutex<Flood>>,
    refusal_lines: RefusalLines,
    live: Arc<LiveSession>,
    audit: Option<SessionAudit>,
    observer: Option<Observer>,
}

impl SessionTelemetry {
    pub(super) fn new(id: SessionId, listener: &ListenerTelemetry) -> Self {
        // A span of the highest level, so that no log level takes the session's id off its lines.
        let span = error_span!(
            parent: None,
            "session",
            id = id.0,
            listener = &*listener.name,
            client = field::Empty
        );
        let gauges = Gauges::new(Arc::clone(&listener.metrics), Arc::clone(&listener.listener));
        Self {
            id,
            span,
            metrics: Arc::clone(&listener.metrics),
            listener: Arc::clone(&listener.listener),
            gauges: Arc::new(Mutex::new(gauges)),
            lines: Arc::default(),
            odd_lines: Arc::default(),
            refusal_lines: Arc::clone(&listener.refusal_lines),
            live: Arc::new(LiveSession::new(id, &listener.name, &listener.live)),
            audit: listener.audit.as_ref().map(|log| SessionAudit::new(id, &listener.name, log)),
            observer: listener.observer.clone(),
        }
    }

    /// The span that gives every line of this session its id; for what else logs on its behalf.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Tells one fact: log line, metrics, what runs now, audit, observer.
    pub fn record(&self, report: &Report) {
        let left_out = self.left_out(report);
        self.span.in_scope(|| self.tell(report, left_out));
        self.live.tell(report);
        if let Some(audit) = &self.audit {
            audit.tell(report, left_out, SystemTime::now());
        }
        if let Some(observer) = &self.observer {
            // Nobody receives any more: the observer has seen enough.
            let _ = observer.send((self.id, report.clone()));
        }
    }

    /// A data connection that has been told as started counts its bytes there while it runs.
    pub fn follow(&self, transfer: TransferId, bytes: Arc<RunningBytes>) {
        self.live.follow(transfer, bytes);
    }

    /// Logs what went wrong on behalf of a peer that can have it go wrong again and again.
    pub fn warn(&self, what: fmt::Arguments<'_>) {
        if let Some(left_out) = pass(&self.lines) {
            self.span.in_scope(|| warn!(left_out = told(left_out), "{what}"));
        }
    }

    /// How many lines like that of `report` have been left out before it; `None`: its own is.
    fn left_out(&self, report: &Report) -> Option<u64> {
        match report {
            Report::Refused { .. } | Report::LoginRefused { .. } => pass(&self.lines),
            Report::LineDistrusted { reason: Distrust::UnsolicitedPassiveReply, .. } => {
                pass(&self.lines)
            }
            Report::LineDistrusted { .. } => pass(&self.odd_lines),
            Report::SessionRefused { cause, .. } => {
                let mut lines = lock(&self.refusal_lines);
                lines.entry(*cause).or_default().pass(REFUSAL_LINES, Instant::now())
            }
            Report::SessionEnded { .. } => Some(lock(&self.lines).left_out()),
            _ => Some(0),
        }
    }

    fn gauges(&self) -> MutexGuard<'_, Gauges> {
        lock(&self.gauges)
    }

    fn tell(&self, report: &Report, left_out: Option<u64>) {
        match report {
            Report::SessionStarted { client, original_dst } => {
                self.span.record("client", field::display(client));
                self.gauges().start_session();
                info!(dialled = %original_dst, "session started");
            }
            Report::ServerConnected { server, seen_as, elapsed } => {
                self.metrics.server_connect_seconds.observe(elapsed.as_secs_f64());
                debug!(%server, %seen_as, seconds = elapsed.as_secs_f64(), "connected to the server");
            }
            Report::LoginAccepted { user: _ } => debug!("the server accepted the login"),
            Report::LoginRefused { user: _, code } => {
                if let Some(left_out) = left_out {
                    info!(code, left_out = told(left_out), "the server refused the login");
                }
            }
            Report::CommandReceived { verb } => {
                self.listener.count_command(verb);
                debug!(verb, "command received");
            }
            Report::Refused { verb, reason, rule } => {
                self.listener.refusals_total.of(*reason).inc();
                if let Some(left_out) = left_out {
                    let (reason, words) = (reason.label(), words::refusal(*reason));
                    let rule = rule.as_deref();
                    warn!(reason, verb, rule, left_out = told(left_out), "{words}");
                }
            }
            Report::ChangeEnded { verb, path: _, renamed: _, code } => {
                let outcome = Answer::of(*code).label();
                debug!(verb, outcome, code, "a command that changes what the server keeps is over");
            }
            Report::LineRewritten { line } => {
                self.listener.rewrites_total.of(*line).inc();
                debug!(line = line.label(), "line rewritten");
            }
            Report::LineDistrusted { reason, from } => {
                self.tell_distrust(*reason, *from, left_out);
            }
            Report::PinholeOpened { transfer, path, mode, pinhole, elapsed } => {
                self.gauges().open_pinhole(*transfer, *path, *mode);
                self.metrics.pinhole_open_seconds.of(*path).observe(elapsed.as_secs_f64());
                let (path, mode) = (path.label(), mode.label());
                debug!(%transfer, %pinhole, path, mode, seconds = elapsed.as_secs_f64(), "pinhole open");
            }
            Report::PinholeClosed { transfer, path, mode, outcome } => {
                self.gauges().close_pinhole(*transfer, *path, *mode);
                self.metrics.pinholes_total.of((*path, *mode, *outcome)).inc();
                let (path, mode, outcome) = (path.label(), mode.label(), outcome.label());
                debug!(%transfer, path, mode, outcome, "pinhole closed");
            }
            Report::DataConnectionStarted { transfer, path, mode } => {
                self.gauges().start_data_connection(*transfer, *path);
                debug!(%transfer, path = path.label(), mode = mode.label(), "data connection started");
            }
            // Names are for the audit, which has them when the transfer is over.
            Report::TransferNamed { .. } => {}
            Report::DataConnectionEnded {
                transfer,
                command: _,
                path,
                mode,
                protection,
                outcome,
                bytes,
                duration,
            } => {
                self.gauges().end_data_connection(*transfer, *path);
                self.metrics.data_connections_total.of((*path, *mode, *protection, *outcome)).inc();
                self.count_bytes(*path, *bytes);
                info!(
                    %transfer,
                    path = path.label(),
                    mode = mode.label(),
                    protection = protection.label(),
                    outcome = outcome.label(),
                    upload = bytes.map(|bytes| bytes.upload),
                    download = bytes.map(|bytes| bytes.download),
                    seconds = duration.as_secs_f64(),
                    "{}",
                    words::data_end(*outcome),
                );
            }
            Report::ProtectionChanged { state } => {
                self.gauges().set_protection(*state);
                // Told without being asked: what an FTPS client is left with looks like a hang.
                info!(state = state.label(), "{}", words::protection(*state));
            }
            Report::TlsRoleTurned { begun_by } => {
                debug!(
                    side = begun_by.label(),
                    "SSCN: this side begins TLS on data connections of files"
                );
            }
            Report::CccObserved { outcome, passed } => self.tell_ccc(*outcome, *passed),
            Report::BlindRangeOpened { client, entry, server } => {
                debug!(%client, %entry, %server, "data.blind_ports are open between these two");
            }
            Report::BlindRangeFailed { client, entry, server } => {
                debug!(%client, %entry, %server, "data.blind_ports are not open for these two");
            }
            Report::NameAsked { name: _ } => debug!("the client asks for a name"),
            Report::ServerCertificateShown { subject: _, checked, fault } => {
                let reason = fault.map(TlsFault::label);
                debug!(checked, reason, "the server has shown its certificate");
            }
            Report::HandshakeEnded { side, connection, version, resumed, fault } => {
                let end = match (fault, version) {
                    (None, Some(version)) => {
                        HandshakeEnd::Completed { version: *version, resumed: *resumed }
                    }
                    (Some(fault), _) => HandshakeEnd::Failed(*fault),
                    // Without a version nothing was agreed on.
                    (None, None) => HandshakeEnd::Failed(TlsFault::Internal),
                };
                self.tell_handshake(*side, *connection, end);
            }
            Report::LeafShown { source } => {
                self.metrics.leaf_certificates_total.of(*source).inc();
                debug!(source = source.label(), "a certificate is shown in the server's place");
            }
            Report::ClientCertificateAccepted { subject } => {
                info!(%subject, "the client has shown a certificate that is trusted");
            }
            Report::SessionRefused { client, original_dst, cause, duration: _ } => {
                self.listener.sessions_total.of(*cause).inc();
                if let Some(left_out) = left_out {
                    self.span.record("client", field::display(client));
                    let (reason, words) = (cause.label(), words::session_end(*cause));
                    info!(reason, dialled = %original_dst, left_out = told(left_out), "{words}");
                }
            }
            Report::SessionEnded { cause, duration } => {
                self.tell_end(*cause, *duration, left_out);
            }
        }
    }

    fn tell_distrust(&self, reason: Distrust, from: Side, left_out: Option<u64>) {
        let (words, from) = (words::distrust(reason), from.label());
        match reason {
            // The mark of somebody who wants a port opened (case 1).
            Distrust::UnsolicitedPassiveReply => {
                if let Some(left_out) = left_out {
                    let reason = reason.label();
                    warn!(reason, from, left_out = told(left_out), "{words}");
                }
            }
            // Odd, but servers do it: a 421 on a timeout answers nothing.
            Distrust::NoReplyCode | Distrust::UnsolicitedReply => {
                if let Some(left_out) = left_out {
                    let reason = reason.label();
                    debug!(reason, from, left_out = told(left_out), "{words}");
                }
            }
        }
    }

    fn tell_ccc(&self, outcome: CccOutcome, passed: Option<u32>) {
        self.listener.ccc_total.of(outcome).inc();
        if outcome == CccOutcome::Missing {
            self.listener.blind_sessions_total.of(BlindOutcome::of(passed)).inc();
        }
        let (reason, words) = (outcome.label(), words::ccc(outcome, passed));
        match (outcome, passed) {
            (CccOutcome::Cleared, _) => debug!(outcome = reason, "{words}"),
            (CccOutcome::Missing, Some(1..)) => info!(outcome = reason, passed, "{words}"),
            (CccOutcome::Missing | CccOutcome::Early | CccOutcome::Halfway, _) => {
                warn!(outcome = reason, "{words}");
            }
        }
    }

    fn tell_handshake(&self, side: Side, connection: Connection, end: HandshakeEnd) {
        self.metrics.tls_handshakes_total.of((side, connection, end)).inc();
        let (side, connection) = (side.label(), connection.label());
        match end {
            HandshakeEnd::Completed { version, resumed } => {
                debug!(side, connection, version = version.label(), resumed, "TLS stands");
            }
            HandshakeEnd::Failed(fault) => {
                let reason = fault.label();
                // The one who shook hands tells more of it.
                debug!(reason, side, connection, "{}", words::tls_fault(fault));
            }
        }
    }

    fn tell_end(&self, cause: CloseCause, duration: Duration, left_out: Option<u64>) {
        self.gauges().end_session();
        self.listener.sessions_total.of(cause).inc();
        self.metrics.session_seconds.observe(duration.as_secs_f64());
        let (reason, seconds) = (cause.label(), duration.as_secs_f64());
        let left_out = left_out.and_then(told);
        if cause.is_violation() {
            warn!(reason, seconds, left_out, "{}", words::session_end(cause));
        } else {
            info!(reason, seconds, left_out, "{}", words::session_end(cause));
        }
    }

    fn count_bytes(&self, path: DataPath, bytes: Option<ByteCounts>) {
        let Some(ByteCounts { upload, download }) = bytes else { return };
        self.metrics.data_bytes_total.of((path, Direction::Upload)).inc_by(upload);
        self.metrics.data_bytes_total.of((path, Direction::Download)).inc_by(download);
    }
}

/// The lines about clients of one listener that have no session.
pub(super) type RefusalLines = Arc<Mutex<HashMap<CloseCause, Flood>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many lines have been left out, if one more may be written.
fn pass(lines: &Mutex<Flood>) -> Option<u64> {
    lock(lines).pass(SESSION_LINES, Instant::now())
}

/// A field that stands only where there is something to tell.
fn told(left_out: u64) -> Option<u64> {
    (left_out > 0).then_some(left_out)
}
