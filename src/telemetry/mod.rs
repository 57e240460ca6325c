//! A [`Report`] in; a log line, metrics and an audit line out.
//!
//! [`Telemetry`] is one per gateway, [`ListenerTelemetry`] one per listener, and
//! [`SessionTelemetry`] one per session: each holds what the next needs, so that no event looks
//! anything up.
//!
//! Not here: how metrics leave the process (see [`crate::admin`]).

mod audit;
mod gauges;
mod logging;
mod metrics;
mod session;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use audit::rfc_3339;
pub use logging::{LOG_VARIABLE, LogFormat, LogLevel, LoggingError, init};
pub use session::SessionTelemetry;

use crate::report::Report;
use crate::terms::SessionId;
use audit::AuditLog;
use metrics::{ListenerMetrics, Metrics};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Where an observer receives every report, beside log and metrics.
pub type Observer = mpsc::UnboundedSender<(SessionId, Report)>;

/// The metrics of one gateway. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    audit: Option<AuditLog>,
    observer: Option<Observer>,
}

impl Telemetry {
    /// With a registry of its own, so that several gateways in one process stay apart.
    pub fn new() -> Self {
        Self { metrics: Arc::new(Metrics::new()), audit: None, observer: None }
    }

    /// Like [`Self::new`], and every report also goes to `observer`, for as long as somebody
    /// receives there.
    pub fn with_observer(observer: Observer) -> Self {
        Self { observer: Some(observer), ..Self::new() }
    }

    /// Writes audit lines to the file at `path` from now on: behind what is there, or to a new file of
    /// mode 0640. The writer is a thread of its own, so that no session waits for a disk.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread not be started.
    pub fn with_audit(self, path: &Path) -> io::Result<Self> {
        let counts = self.metrics.audit_lines_total.clone();
        Ok(Self { audit: Some(AuditLog::open(path, counts)?), ..self })
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
            listener: self.metrics.listener(name),
            metrics: Arc::clone(&self.metrics),
            audit: self.audit.clone(),
            observer: self.observer.clone(),
        }
    }

    /// Tells how many ports of the pool are free.
    pub fn set_ports_free(&self, free: usize) {
        self.metrics.ports_free.set(i64::try_from(free).unwrap_or(i64::MAX));
    }

    /// All metrics in the Prometheus text exposition format 0.0.4.
    pub fn encode(&self) -> String {
        self.metrics.encode()
    }
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
    listener: ListenerMetrics,
    metrics: Arc<Metrics>,
    audit: Option<AuditLog>,
    observer: Option<Observer>,
}

impl ListenerTelemetry {
    /// The part of one session.
    pub fn session(&self, id: SessionId) -> SessionTelemetry {
        SessionTelemetry::new(id, self)
    }
}
