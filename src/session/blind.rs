//! The range that stands open while the lines of a session cannot be read, and the data connections
//! that are seen to pass through it: of these neither the agreement nor the protection is known.

use super::action::{Action, BlindRange};
use super::data::most_running;
use super::{Phase, Session};
use crate::report::{DataOutcome, Report};
use crate::terms::{ByteCounts, DataMode, DataPath, FlowId, ProtectionLevel, TransferId};
use std::time::Instant;

/// The kernel carries them, and a client that dials is in passive mode.
const PATH: DataPath = DataPath::Kernel;
const MODE: DataMode = DataMode::Passive;

/// What is known of the range and of what passes through it.
#[derive(Debug, Default)]
pub(super) struct Blind {
    /// Asked for, and not known to have failed.
    open: bool,
    /// How many have come since it was opened.
    passed: u32,
    running: Vec<Running>,
}

/// A data connection through the range.
#[derive(Debug)]
struct Running {
    flow: FlowId,
    id: TransferId,
    since: Instant,
}

impl Blind {
    /// True while a connection runs that came through the range.
    pub(super) fn runs(&self) -> bool {
        !self.running.is_empty()
    }

    /// How many connections have come through the range; `None` if it is not open.
    pub(super) fn passed(&self) -> Option<u32> {
        self.open.then_some(self.passed)
    }
}

impl Session {
    /// Opens the range where it can be had and is not open yet. Not to a server that expects a PROXY
    /// header ahead of the data: it would believe one that the client has made up.
    pub(super) fn open_blind_range(&mut self) {
        if self.settings.blind_ports
            && !self.settings.send_data_header
            && !self.blind.open
            && let Some(range) = self.ends.and_then(|ends| ends.blind_range())
        {
            (self.blind.open, self.blind.passed) = (true, 0);
            self.actions.push_back(Action::OpenBlindRange(range));
        }
    }

    /// A session that has ended meanwhile is closing it already.
    pub(super) fn on_blind_range_opened(&mut self, range: BlindRange) {
        if self.phase == Phase::Closed {
            return;
        }
        let BlindRange { client, entry, server, .. } = range;
        self.report(Report::BlindRangeOpened { client, entry, server });
    }

    /// Nothing of it is open.
    pub(super) fn on_blind_range_failed(&mut self, range: BlindRange) {
        if self.phase == Phase::Closed {
            return;
        }
        let BlindRange { client, entry, server, .. } = range;
        self.blind.open = false;
        self.report(Report::BlindRangeFailed { client, entry, server });
    }

    /// Closes the range; connections that run go on.
    pub(super) fn close_blind_range(&mut self) {
        if std::mem::take(&mut self.blind.open) {
            self.actions.push_back(Action::CloseBlindRange);
        }
    }

    /// A connection has come through the range, which may be closed again when that becomes known.
    /// What comes beyond the bound passes all the same, and is only counted.
    pub(super) fn on_blind_started(&mut self, flow: FlowId, now: Instant) {
        self.last_activity = now;
        if self.blind.running.iter().any(|running| running.flow == flow) {
            return;
        }
        self.blind.passed = self.blind.passed.saturating_add(1);
        if self.blind.running.len() >= most_running(PATH) {
            return;
        }
        let id = self.next_transfer_id();
        self.blind.running.push(Running { flow, id, since: now });
        self.report(Report::DataConnectionStarted { transfer: id, path: PATH, mode: MODE });
    }

    pub(super) fn on_blind_ended(
        &mut self,
        flow: FlowId,
        outcome: DataOutcome,
        bytes: Option<ByteCounts>,
        now: Instant,
    ) {
        self.last_activity = now;
        let at = self.blind.running.iter().position(|running| running.flow == flow);
        let Some(at) = at else { return };
        let Running { id, since, .. } = self.blind.running.swap_remove(at);
        self.report(Report::DataConnectionEnded {
            transfer: id,
            command: None,
            path: PATH,
            mode: MODE,
            protection: ProtectionLevel::Unknown,
            outcome,
            bytes,
            duration: now.saturating_duration_since(since),
        });
    }
}
