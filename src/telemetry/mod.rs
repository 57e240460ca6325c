//! A [`Report`] in; a log line and metrics out.
//!
//! [`Telemetry`] is one per gateway, [`ListenerTelemetry`] one per listener, and
//! [`SessionTelemetry`] one per session: each holds what the next needs, so that no event looks
//! anything up.
//!
//! Not here: how metrics leave the process (see [`crate::admin`]).

mod gauges;
mod logging;
mod metrics;
mod session;
#[cfg(test)]
mod tests;
mod words;

pub use logging::{LOG_VARIABLE, LogFormat, LogLevel, LoggingError, init};
pub use session::SessionTelemetry;

use crate::report::Report;
use crate::terms::SessionId;
use metrics::{ListenerMetrics, Metrics};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where an observer receives every report, beside log and metrics.
pub type Observer = mpsc::UnboundedSender<(SessionId, Report)>;

/// The metrics of one gateway. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    observer: Option<Observer>,
}

impl Telemetry {
    /// With a registry of its own, so that several gateways in one process stay apart.
    pub fn new() -> Self {
        Self { metrics: Arc::new(Metrics::new()), observer: None }
    }

    /// Like [`Self::new`], and every report also goes to `observer`, for as long as somebody
    /// receives there.
    pub fn with_observer(observer: Observer) -> Self {
        Self { observer: Some(observer), ..Self::new() }
    }

    /// The part of one listener; asking again for the same name goes on counting.
    pub fn listener(&self, name: &str) -> ListenerTelemetry {
        ListenerTelemetry {
            name: Arc::from(name),
            listener: self.metrics.listener(name),
            metrics: Arc::clone(&self.metrics),
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
    observer: Option<Observer>,
}

impl ListenerTelemetry {
    /// The part of one session.
    pub fn session(&self, id: SessionId) -> SessionTelemetry {
        SessionTelemetry::new(id, self)
    }
}
