//! A [`Report`] in; a log line, metrics and an audit line out, and a view of what runs now.
//!
//! [`Telemetry`] is one per gateway, [`ListenerTelemetry`] one per listener, and
//! [`SessionTelemetry`] one per session: each holds what the next needs, so that no event looks
//! anything up.
//!
//! | file | what it holds |
//! |---|---|
//! | `session` | one session's reports, and what each leads to |
//! | `logging` | the log |
//! | `words` | its messages |
//! | `metrics`, `gauges` | figures, and what a session adds to those that go down again |
//! | `audit` | lines of JSON in a file, and in the journal |
//! | `certificates`, `process`, `vitals` | figures that are read at each scrape |
//! | `live`, `snapshot` | what runs now, and what is shown of it |
//!
//! Not here: how metrics and views leave the process (see [`crate::admin`]).

mod audit;
mod certificates;
mod gauges;
mod live;
mod logging;
mod metrics;
mod process;
mod session;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod vitals;
mod words;

pub(crate) use audit::rfc_3339;
pub use audit::{AuditError, AuditFailure, AuditPlaces, JOURNAL_SOCKET};
pub use certificates::{CertificateRole, Expiry};
pub use live::RunningBytes;
pub use logging::{LOG_VARIABLE, LogFormat, LogHandle, LogLevel, LoggingError, init};
use session::RefusalLines;
pub use session::SessionTelemetry;
pub use vitals::{Repair, VitalSigns, Vitals};

use crate::report::Report;
use crate::terms::SessionId;
use audit::AuditLog;
use live::Live;
use metrics::{ListenerMetrics, Metrics};
use snapshot::{ListenerSnapshot, Snapshot, View};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};

/// Where an observer receives every report, beside log and metrics.
pub type Observer = mpsc::UnboundedSender<(SessionId, Report)>;

/// The metrics of one gateway. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    live: Arc<Live>,
    certificates: Arc<Mutex<Vec<(CertificateRole, Expiry)>>>,
    vitals: Arc<Mutex<Option<VitalSigns>>>,
    audit: Option<AuditLog>,
    observer: Option<Observer>,
}

impl Telemetry {
    /// With a registry of its own, so that several gateways in one process stay apart.
    pub fn new() -> Self {
        Self {
            metrics: Arc::new(Metrics::new()),
            live: Arc::new(Live::new()),
            certificates: Arc::default(),
            vitals: Arc::default(),
            audit: None,
            observer: None,
        }
    }

    /// Like [`Self::new`], and every report also goes to `observer`, for as long as somebody
    /// receives there.
    pub fn with_observer(observer: Observer) -> Self {
        Self { observer: Some(observer), ..Self::new() }
    }

    /// Writes audit lines to `places` from now on: to the file behind what is there, or to a new one of
    /// mode 0640. The writer is a thread of its own, so that no session waits for a disk. Nowhere to
    /// write to: there is no audit.
    ///
    /// # Errors
    /// The place that cannot be had, and the key that asks for it.
    pub fn with_audit(self, places: AuditPlaces<'_>) -> Result<Self, AuditError> {
        if places.file.is_none() && places.journal.is_none() {
            return Ok(self);
        }
        let audit = AuditLog::open(places, &self.metrics.audit_lines_total)?;
        Ok(Self { audit: Some(audit), ..self })
    }

    /// Has the file of the audit opened anew by its path, as it is due when somebody has moved it away
    /// (logrotate). Returns at once: the writer does it. If it cannot, the log says so, and the file
    /// opened before is written on.
    pub fn reopen_audit(&self) {
        if let Some(audit) = &self.audit {
            audit.reopen();
        }
    }

    /// Whether the audit cannot be written now, where sessions are not to go on without it
    /// ([`AuditFailure::Stop`]).
    pub fn watch_audit(&self) -> Option<watch::Receiver<bool>> {
        self.audit.as_ref().and_then(AuditLog::failing)
    }

    /// Waits until the audit lines told so far are written, or given up. False if they are not within
    /// `timeout`. Blocks: not for an async thread.
    pub fn flush_audit(&self, timeout: Duration) -> bool {
        self.audit.as_ref().is_none_or(|audit| audit.flush(timeout))
    }

    /// The part of one listener; asking again for the same name goes on counting.
    pub fn listener(&self, name: &str) -> ListenerTelemetry {
        ListenerTelemetry {
            name: Arc::from(name),
            listener: Arc::new(self.metrics.listener(name)),
            metrics: Arc::clone(&self.metrics),
            live: Arc::clone(&self.live),
            audit: self.audit.clone(),
            observer: self.observer.clone(),
            refusal_lines: Arc::default(),
        }
    }

    /// Tells how many ports of the pool are free.
    pub fn set_ports_free(&self, free: usize) {
        self.metrics.ports_free.set(gauge(free));
        self.live.set_ports_free(free);
    }

    /// The configuration that was read at this time is in force.
    pub fn set_config_loaded(&self, at: SystemTime) {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let at = i64::try_from(seconds).unwrap_or(i64::MAX);
        self.metrics.config_loaded_timestamp_seconds.set(at);
    }

    /// The configuration was to be read again: the new one is in force, or the old one still is.
    pub fn count_reload(&self, applied: bool) {
        self.metrics.config_reloads_total.of(applied).inc();
    }

    /// Tells where clients are accepted, in place of what was told before.
    pub fn set_listeners(&self, listeners: Vec<ListenerSnapshot>) {
        self.live.set_listeners(listeners);
    }

    /// What runs now. Holds up no session for longer than it takes to copy what is known of it.
    pub fn snapshot(&self, view: View) -> Snapshot {
        self.live.snapshot(view)
    }

    /// Tells how many ports the pool has, and how many sessions may run at once.
    pub fn set_limits(&self, ports: usize, sessions: usize) {
        self.metrics.ports.set(gauge(ports));
        self.live.set_ports_total(ports);
        self.metrics.sessions_limit.set(gauge(sessions));
    }

    /// Tells from now on when these certificates expire, and of no others.
    pub fn watch_certificates(&self, certificates: Vec<(CertificateRole, Expiry)>) {
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    /// Asks for these figures at each scrape from now on.
    pub fn watch_vitals(&self, vitals: VitalSigns) {
        *self.vitals.lock().unwrap_or_else(PoisonError::into_inner) = Some(vitals);
    }

    /// All metrics in the Prometheus text exposition format 0.0.4. `ready`: whether sessions are taken.
    ///
    /// Reads `/proc` and looks at the files of certificates: not for a thread that carries sessions.
    pub fn encode(&self, ready: bool) -> String {
        self.metrics.ready.set(i64::from(ready));
        let certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        let expiries = certificates.iter().filter_map(|(role, expiry)| Some((*role, expiry()?)));
        self.metrics.set_expiries(expiries);
        let vitals = self.vitals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = vitals.as_ref() {
            self.metrics.set_vitals(read());
        }
        drop(vitals);
        // Held until all is written, so that nobody else finds the expiries half told.
        let text = self.metrics.encode();
        drop(certificates);
        text
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

/// The telemetry of one listener. Cheap to clone.
#[derive(Clone)]
pub struct ListenerTelemetry {
    name: Arc<str>,
    listener: Arc<ListenerMetrics>,
    metrics: Arc<Metrics>,
    live: Arc<Live>,
    audit: Option<AuditLog>,
    observer: Option<Observer>,
    refusal_lines: RefusalLines,
}

impl ListenerTelemetry {
    /// The part of one session.
    pub fn session(&self, id: SessionId) -> SessionTelemetry {
        SessionTelemetry::new(id, self)
    }
}
