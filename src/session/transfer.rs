//! The transfers of a session, from the first pinhole to the last byte.
//!
//! Every pinhole that was opened is told as closed exactly once: used, expired or withdrawn. A
//! session offers at most one transfer at a time; older ones may still be running.

use super::action::{Leg, TransferPlan};
use super::named::Name;
use crate::report::PinholeOutcome;
use crate::terms::{DataMode, DataPath, ProtectionLevel, Side, TransferId};
use std::time::Instant;

/// One transfer that is open or running.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) plan: TransferPlan,
    pub(super) protection: ProtectionLevel,
    pub(super) stage: Stage,
    /// What the client asked for.
    pub(super) name: Name,
    /// Legs whose pinhole is open and unused.
    awaiting: Vec<Side>,
    /// Both connections stand, with TLS where they are protected. Not known of the kernel path, where one is the other.
    joined: bool,
    /// What the client sends waits for its next command.
    holds_upload: bool,
}

/// How far a transfer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The executor has been asked to open it.
    Opening {
        /// When it was asked.
        since: Instant,
    },
    /// Its pinholes are open until then.
    Offered {
        /// When they close.
        until: Instant,
    },
    /// The executor has been asked to close what has not been used.
    Withdrawing {
        /// What is told of it if nothing has come meanwhile.
        outcome: PinholeOutcome,
    },
    /// Every leg has its connection, or is about to.
    Running {
        /// Since when.
        since: Instant,
    },
}

/// A pinhole that is told as closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClosedPinhole {
    pub(super) mode: DataMode,
    pub(super) outcome: PinholeOutcome,
}

impl Transfer {
    pub(super) fn new(plan: TransferPlan, protection: ProtectionLevel, now: Instant) -> Self {
        let stage = Stage::Opening { since: now };
        let holds_upload = [Side::Client, Side::Server].iter().any(|side| plan.is_protected(*side));
        let (name, awaiting) = (Name::default(), Vec::new());
        Self { plan, protection, stage, name, awaiting, joined: false, holds_upload }
    }

    pub(super) fn id(&self) -> TransferId {
        self.plan.id
    }

    pub(super) fn path(&self) -> DataPath {
        self.plan.path
    }

    /// The mode towards the client: the one that its own commands speak of.
    pub(super) fn client_mode(&self) -> DataMode {
        self.plan.mode(Side::Client)
    }

    /// The pinholes stand open from now on.
    pub(super) fn offer(&mut self, until: Instant) {
        self.stage = Stage::Offered { until };
        self.awaiting = [Side::Client, Side::Server]
            .into_iter()
            .filter(|side| matches!(self.plan.leg(*side), Leg::Await(_)))
            .collect();
    }

    /// True if both legs dial, so that nothing comes in that would set the transfer going.
    pub(super) fn dials_both(&self) -> bool {
        matches!((&self.plan.client, &self.plan.server), (Leg::Dial(_), Leg::Dial(_)))
    }

    /// True if what the client sends has waited until now.
    pub(super) fn take_upload(&mut self) -> bool {
        std::mem::take(&mut self.holds_upload)
    }

    pub(super) fn join(&mut self) {
        self.joined = true;
    }

    /// True if the client may hear that the transfer is done before its connection stands: the
    /// server's ends at the gateway, and the client is dialled only then, or is still in the
    /// handshake.
    pub(super) fn outruns_client(&self) -> bool {
        self.plan.path == DataPath::Relay
            && !self.joined
            && (matches!(self.plan.client, Leg::Dial(_)) || self.plan.is_protected(Side::Client))
    }

    /// A connection came through the pinhole of `side`; `None` if that is known already.
    pub(super) fn use_pinhole(&mut self, side: Side) -> Option<ClosedPinhole> {
        let at = self.awaiting.iter().position(|waiting| *waiting == side)?;
        self.awaiting.swap_remove(at);
        Some(ClosedPinhole { mode: self.plan.mode(side), outcome: PinholeOutcome::Used })
    }

    /// The sides whose pinhole is open and unused.
    pub(super) fn awaiting(&self) -> Vec<Side> {
        self.awaiting.clone()
    }

    /// True while the pinhole of `side` is open and unused.
    pub(super) fn awaits(&self, side: Side) -> bool {
        self.awaiting.contains(&side)
    }

    /// True if no pinhole is waiting any more.
    pub(super) fn is_complete(&self) -> bool {
        self.awaiting.is_empty()
    }

    /// Closes what is still open.
    pub(super) fn close_pinholes(&mut self, outcome: PinholeOutcome) -> Vec<ClosedPinhole> {
        let open = std::mem::take(&mut self.awaiting);
        open.into_iter().map(|side| ClosedPinhole { mode: self.plan.mode(side), outcome }).collect()
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    /// When the pinholes close unused, if they are open.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Offered { until } => Some(until),
            Stage::Opening { .. } | Stage::Withdrawing { .. } | Stage::Running { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinhole::Expectation;
    use crate::session::Dial;

    /// The client dials the gateway, which dials the server.
    fn passive(path: DataPath, client_protection: ProtectionLevel) -> Transfer {
        let address = "203.0.113.7".parse().unwrap();
        let peer = "192.0.2.2".parse().unwrap();
        let to = "198.51.100.5:6000".parse().unwrap();
        let plan = TransferPlan {
            id: TransferId(1),
            path,
            client: Leg::Await(Expectation { peer, address, port: None, foreign: false }),
            server: Leg::Dial(Dial { to, from: address, foreign: false, third: false }),
            client_protection,
            server_protection: ProtectionLevel::Private,
        };
        Transfer::new(plan, client_protection, Instant::now())
    }

    #[test]
    fn a_reply_waits_for_the_tls_of_a_client_that_has_connected() {
        let mut transfer = passive(DataPath::Relay, ProtectionLevel::Private);
        assert!(transfer.outruns_client());
        transfer.join();
        assert!(!transfer.outruns_client());
        assert!(!passive(DataPath::Relay, ProtectionLevel::Clear).outruns_client());
        assert!(!passive(DataPath::Kernel, ProtectionLevel::Private).outruns_client());
    }
}
