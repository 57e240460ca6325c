//! The metrics that bear the name of a listener.

use super::families::{Children, Families};
use crate::report::{CccOutcome, CloseCause, Refusal, RewrittenLine};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The families of which each listener has children of its own.
pub(super) struct ListenerFamilies {
    sessions_active: IntGaugeVec,
    sessions_total: IntCounterVec,
    commands_total: IntCounterVec,
    refusals_total: IntCounterVec,
    rewrites_total: IntCounterVec,
    ccc_total: IntCounterVec,
    blind_sessions_total: IntCounterVec,
}

impl ListenerFamilies {
    pub(super) fn new(families: &Families) -> Self {
        Self {
            sessions_active: families.gauges(
                "sessions_active",
                "Sessions running now.",
                &["listener"],
            ),
            sessions_total: families.counters(
                "sessions_total",
                "Sessions that are over, by why they ended; quit, client_closed and server_closed are \
                 what a session ends by in good order.",
                &["listener", "outcome"],
            ),
            commands_total: families.counters(
                "commands_total",
                "Commands read from clients, by verb; OTHER for one that is not known. What is sent \
                 inside TLS that does not end here is not seen.",
                &["listener", "verb"],
            ),
            refusals_total: families.counters(
                "refusals_total",
                "Commands and replies that the gateway answered with a refusal of its own, by reason; \
                 the session goes on.",
                &["listener", "reason"],
            ),
            rewrites_total: families.counters(
                "rewrites_total",
                "Lines that left with another address, port or list than they came with, by kind.",
                &["listener", "line"],
            ),
            ccc_total: families.counters(
                "ccc_total",
                "Control connections carried in TLS, by how they came back to clear text; none for \
                 those that did not.",
                &["listener", "outcome"],
            ),
            blind_sessions_total: families.counters(
                "blind_sessions_total",
                "Sessions that ended encrypted and unread (ccc_total none), by what became of their \
                 data connections: passed within data.blind_ports, none of them, or no such ports.",
                &["listener", "outcome"],
            ),
        }
    }

    /// The children of one listener; the same ones for the same name.
    pub(super) fn of(&self, name: &str) -> ListenerMetrics {
        ListenerMetrics {
            sessions_active: self.sessions_active.with_label_values(&[name]),
            sessions_total: Children::new(CloseCause::ALL.iter().copied(), |cause| {
                self.sessions_total.with_label_values(&[name, cause.label()])
            }),
            refusals_total: Children::new(Refusal::ALL.iter().copied(), |reason| {
                self.refusals_total.with_label_values(&[name, reason.label()])
            }),
            rewrites_total: Children::new(RewrittenLine::ALL.iter().copied(), |line| {
                self.rewrites_total.with_label_values(&[name, line.label()])
            }),
            ccc_total: Children::new(CccOutcome::ALL.iter().copied(), |outcome| {
                self.ccc_total.with_label_values(&[name, outcome.label()])
            }),
            blind_sessions_total: Children::new(BlindOutcome::ALL, |outcome| {
                self.blind_sessions_total.with_label_values(&[name, outcome.label()])
            }),
            commands: Arc::new(Commands {
                listener: name.to_owned(),
                family: self.commands_total.clone(),
                children: Mutex::default(),
            }),
        }
    }
}

/// What an encrypted control connection that nobody could read meant for its data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::telemetry) enum BlindOutcome {
    /// At least one passed within `data.blind_ports`.
    Passed,
    /// `data.blind_ports` were open, and none passed: there was none, or it went elsewhere.
    Nothing,
    /// Nothing was open for them.
    NoPorts,
}

impl BlindOutcome {
    const ALL: [Self; 3] = [Self::Passed, Self::Nothing, Self::NoPorts];

    /// Of as many data connections as have passed; `None` if nothing was open for them.
    pub(in crate::telemetry) fn of(passed: Option<u32>) -> Self {
        match passed {
            Some(1..) => Self::Passed,
            Some(0) => Self::Nothing,
            None => Self::NoPorts,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Nothing => "nothing",
            Self::NoPorts => "no_ports",
        }
    }
}

/// The metrics of one listener, which its sessions share.
pub(in crate::telemetry) struct ListenerMetrics {
    pub(in crate::telemetry) sessions_active: IntGauge,
    pub(in crate::telemetry) sessions_total: Children<CloseCause, IntCounter>,
    pub(in crate::telemetry) refusals_total: Children<Refusal, IntCounter>,
    pub(in crate::telemetry) rewrites_total: Children<RewrittenLine, IntCounter>,
    pub(in crate::telemetry) ccc_total: Children<CccOutcome, IntCounter>,
    pub(in crate::telemetry) blind_sessions_total: Children<BlindOutcome, IntCounter>,
    commands: Arc<Commands>,
}

impl ListenerMetrics {
    /// Counts one command.
    pub(in crate::telemetry) fn count_command(&self, verb: &'static str) {
        let mut children = self.commands.children.lock().unwrap_or_else(PoisonError::into_inner);
        children
            .entry(verb)
            .or_insert_with(|| {
                self.commands.family.with_label_values(&[self.commands.listener.as_str(), verb])
            })
            .inc();
    }
}

/// The verbs are the business of the language, which is not known here: each gets its child when it
/// is first seen. The set stays closed, since reports name known verbs only.
struct Commands {
    listener: String,
    family: IntCounterVec,
    children: Mutex<HashMap<&'static str, IntCounter>>,
}
