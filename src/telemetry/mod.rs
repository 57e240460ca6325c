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

pub use audit::{AuditError, AuditPlaces, JOURNAL_SOCKET};
pub use logging::{LOG_VARIABLE, LogFormat, LogLevel, LoggingError, init};
pub use session::SessionTelemetry;

use crate::report::Report;
use crate::terms::SessionId;
use audit::AuditLog;
use metrics::{ListenerMetrics, Metrics};
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
