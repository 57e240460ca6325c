//! What one session adds to gauges, so that it is taken away exactly once.
//!
//! A data connection on the kernel path may outlive its session, an end may be told without a
//! beginning, and a session whose task is cut short tells no end at all: what remains is taken away
//! when the last holder is gone.

use super::metrics::{ListenerMetrics, Metrics};
use crate::report::ControlProtection;
use crate::terms::{DataMode, DataPath, TransferId};
use std::sync::Arc;

/// The contribution of one session to every gauge.
pub(super) struct Gauges {
    metrics: Arc<Metrics>,
    listener: Arc<ListenerMetrics>,
    active: bool,
    protection: Option<ControlProtection>,
    pinholes: Vec<(TransferId, DataPath, DataMode)>,
    data_connections: Vec<(TransferId, DataPath)>,
}

impl Gauges {
    pub(super) fn new(metrics: Arc<Metrics>, listener: Arc<ListenerMetrics>) -> Self {
        Self {
            metrics,
            listener,
            active: false,
            protection: None,
            pinholes: Vec::new(),
            data_connections: Vec::new(),
        }
    }

    pub(super) fn start_session(&mut self) {
        if !self.active {
            self.active = true;
            self.listener.sessions_active.inc();
            self.move_protection(Some(ControlProtection::Clear));
        }
    }

    pub(super) fn end_session(&mut self) {
        if self.active {
            self.active = false;
            self.listener.sessions_active.dec();
        }
        self.move_protection(None);
    }

    /// Takes a running session from its former state to another.
    pub(super) fn set_protection(&mut self, state: ControlProtection) {
        if self.active {
            self.move_protection(Some(state));
        }
    }

    fn move_protection(&mut self, state: Option<ControlProtection>) {
        if let Some(former) = self.protection {
            self.metrics.control_protection.of(former).dec();
        }
        if let Some(state) = state {
            self.metrics.control_protection.of(state).inc();
        }
        self.protection = state;
    }

    pub(super) fn open_pinhole(&mut self, transfer: TransferId, path: DataPath, mode: DataMode) {
        self.pinholes.push((transfer, path, mode));
        self.metrics.pinholes_open.of(path).inc();
    }

    /// A transfer may have one pinhole per leg, in different modes; one that was never open is not
    /// found here.
    pub(super) fn close_pinhole(&mut self, transfer: TransferId, path: DataPath, mode: DataMode) {
        let same = |open: &(TransferId, DataPath, DataMode)| *open == (transfer, path, mode);
        if let Some(index) = self.pinholes.iter().position(same) {
            self.pinholes.swap_remove(index);
            self.metrics.pinholes_open.of(path).dec();
        }
    }

    pub(super) fn start_data_connection(&mut self, transfer: TransferId, path: DataPath) {
        self.data_connections.push((transfer, path));
        self.metrics.data_connections_active.of(path).inc();
    }

    pub(super) fn end_data_connection(&mut self, transfer: TransferId, path: DataPath) {
        let same = |running: &(TransferId, DataPath)| *running == (transfer, path);
        if let Some(index) = self.data_connections.iter().position(same) {
            self.data_connections.swap_remove(index);
            self.metrics.data_connections_active.of(path).dec();
        }
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.end_session();
        for (_, path, _) in self.pinholes.drain(..) {
            self.metrics.pinholes_open.of(path).dec();
        }
        for (_, path) in self.data_connections.drain(..) {
            self.metrics.data_connections_active.of(path).dec();
        }
    }
}
