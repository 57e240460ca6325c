//! The life of a session's transfers: opened, used, running, ended, withdrawn.
//!
//! Not here: what is agreed about them and in which words (see `data_command`, `data_reply`).

use super::action::{Action, Leg, TransferPlan};
use super::negotiation::{Negotiation, Opened};
use super::transfer::{ClosedPinhole, Stage, Transfer};
use super::{Phase, Session};
use crate::pinhole::{Expectation, Pinhole};
use crate::report::{DataOutcome, PinholeOutcome, Refusal, Report};
use crate::terms::{ByteCounts, DataPath, ProtectionLevel, Side, TransferId};
use std::net::SocketAddr;
use std::time::Instant;

/// Data connections of one session that may run at a time. A user has one (RFC 959 §2.3); what runs
/// besides are earlier ones whose end has not been seen yet, or a peer that leaves them open to use
/// up what carries them. In the kernel that is an entry of conntrack's, whose news may lag behind a
/// client of many small files; on the relay it is six descriptors and two pipes.
pub(super) const fn most_running(path: DataPath) -> usize {
    match path {
        DataPath::Kernel => 1024,
        DataPath::Relay => 32,
    }
}

impl Session {
    /// Asks the executor to open what the two legs await. Everything else of this session waits.
    pub(super) fn open(
        &mut self,
        negotiation: Negotiation,
        client: Leg,
        server: Leg,
        now: Instant,
    ) {
        let Some(ends) = self.ends else { return };
        let (client_protection, server_protection) = self.ended_protection();
        let kernel =
            client_protection == server_protection && client_protection == ProtectionLevel::Clear;
        let Some(path) = ends.path(&self.settings, kernel, &client, &server) else {
            return self.fail_negotiation(&negotiation, Refusal::KernelCannot);
        };
        let running = || self.transfers.iter().filter(|transfer| transfer.is_running());
        let alike = running().filter(|transfer| transfer.path() == path).count();
        if alike >= most_running(path) || running().count() >= self.settings.pinholes {
            return self.fail_negotiation(&negotiation, Refusal::TooManyTransfers);
        }
        let plan = TransferPlan {
            id: self.next_transfer_id(),
            path,
            client,
            server,
            client_protection,
            server_protection,
        };
        self.last_negotiated = plan.id;
        self.transfers.push(Transfer::new(plan, self.told_protection(), now));
        self.opening = Some(negotiation);
        self.actions.push_back(Action::OpenTransfer(plan));
    }

    /// True while the executor opens a transfer: nothing else is read meanwhile.
    pub(super) fn is_opening(&self) -> bool {
        self.opening.is_some()
    }

    pub(super) fn on_transfer_opened(
        &mut self,
        id: TransferId,
        client_entry: Option<SocketAddr>,
        server_entry: Option<SocketAddr>,
        now: Instant,
    ) {
        let until = now + self.settings.open_timeout;
        let Some(transfer) = self.transfers.iter_mut().find(|transfer| transfer.id() == id) else {
            return;
        };
        let Stage::Opening { since } = transfer.stage else { return };
        transfer.offer(until);
        let plan = transfer.plan;
        let elapsed = now.saturating_duration_since(since);
        for (side, entry) in [(Side::Client, client_entry), (Side::Server, server_entry)] {
            if let (Leg::Await(Expectation { peer, .. }), Some(entry)) = (plan.leg(side), entry) {
                self.report(Report::PinholeOpened {
                    transfer: id,
                    path: plan.path,
                    mode: plan.mode(side),
                    pinhole: Pinhole { peer: *peer, entry },
                    elapsed,
                });
            }
        }
        let Some(mut negotiation) = self.opening.take() else { return };
        if self.phase == Phase::Closed {
            self.withdraw_offered();
            return;
        }
        match server_entry {
            Some(entry) => {
                negotiation.opened = Some(Opened { id, client_entry });
                self.tell_server(negotiation, entry);
            }
            None => self.tell_client(&negotiation, client_entry),
        }
    }

    pub(super) fn on_transfer_failed(&mut self, id: TransferId) {
        let Some(at) = self.transfers.iter().position(|transfer| transfer.id() == id) else {
            return;
        };
        let transfer = self.transfers.swap_remove(at);
        let mode = transfer.client_mode();
        let (path, outcome) = (transfer.path(), PinholeOutcome::Failed);
        self.report(Report::PinholeClosed { transfer: id, path, mode, outcome });
        if let Some(negotiation) = self.opening.take()
            && self.phase == Phase::Open
        {
            self.fail_negotiation(&negotiation, Refusal::PinholeFailed);
        }
    }

    /// A transfer command is on its way: a server that listens wants to be dialled before it says
    /// 1xx. Only where both legs dial; else the connection that comes in sets the other leg going.
    pub(super) fn dial_waiting_server(&mut self) {
        let Some(transfer) = self.offered_mut().filter(|transfer| transfer.dials_both()) else {
            return;
        };
        let id = transfer.id();
        self.actions.push_back(Action::DialData { id, side: Side::Server });
    }

    /// The server has begun: now the client in active mode may be dialled as well.
    pub(super) fn on_transfer_begun(&mut self, now: Instant) {
        let Some(transfer) = self.offered_mut().filter(|transfer| transfer.dials_both()) else {
            return;
        };
        let id = transfer.id();
        self.actions.push_back(Action::DialData { id, side: Side::Client });
        self.start(id, now);
    }

    /// The server refused the transfer command. Where both legs dial, its listener has been dialled
    /// and is spent; a pinhole that awaits a connection stays for the client's next attempt.
    pub(super) fn on_transfer_refused(&mut self) {
        if self.offered_mut().is_some_and(|transfer| transfer.dials_both()) {
            self.withdraw_offered();
        }
    }

    pub(super) fn on_pinhole_used(&mut self, id: TransferId, side: Side, now: Instant) {
        self.last_activity = now;
        let Some(transfer) = self.transfers.iter_mut().find(|transfer| transfer.id() == id) else {
            return;
        };
        let Some(closed) = transfer.use_pinhole(side) else { return };
        let complete = transfer.is_complete();
        let path = transfer.path();
        self.report_closed(id, path, closed);
        if complete {
            self.start(id, now);
        }
    }

    fn start(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.iter_mut().find(|transfer| transfer.id() == id) else {
            return;
        };
        transfer.stage = Stage::Running { since: now };
        let (path, mode) = (transfer.path(), transfer.client_mode());
        self.report(Report::DataConnectionStarted { transfer: id, path, mode });
        self.report_name(id);
    }

    pub(super) fn on_data_joined(&mut self, id: TransferId) {
        if let Some(transfer) = self.transfers.iter_mut().find(|transfer| transfer.id() == id) {
            transfer.join();
        }
    }

    pub(super) fn on_data_ended(
        &mut self,
        id: TransferId,
        outcome: DataOutcome,
        bytes: Option<ByteCounts>,
        now: Instant,
    ) {
        self.last_activity = now;
        let Some(at) = self.transfers.iter().position(|transfer| transfer.id() == id) else {
            return;
        };
        let mut transfer = self.transfers.swap_remove(at);
        let (path, mode) = (transfer.path(), transfer.client_mode());
        for closed in transfer.close_pinholes(PinholeOutcome::Withdrawn) {
            self.report_closed(id, path, closed);
        }
        let Stage::Running { since } = transfer.stage else { return };
        self.report(Report::DataConnectionEnded {
            transfer: id,
            command: transfer.name.into_command(),
            path,
            mode,
            protection: transfer.protection,
            outcome,
            bytes,
            duration: now.saturating_duration_since(since),
        });
    }

    /// Closes what was offered and has not been used. A running transfer is left alone.
    pub(super) fn withdraw_offered(&mut self) {
        self.close_offered(PinholeOutcome::Withdrawn, |_| true);
    }

    /// Closes what nobody came for in time.
    pub(super) fn expire_transfers(&mut self, now: Instant) {
        self.close_offered(PinholeOutcome::Expired, |until| until <= now);
    }

    fn close_offered(&mut self, outcome: PinholeOutcome, when: impl Fn(Instant) -> bool) {
        for transfer in &mut self.transfers {
            if transfer.expires_at().is_some_and(&when) {
                let id = transfer.id();
                transfer.stage = Stage::Withdrawing { outcome };
                self.actions.push_back(Action::WithdrawTransfer { id });
                self.pending.forget_opened(id);
            }
        }
    }

    /// The news of a connection may be overtaken by the client's next command: whether a pinhole was
    /// used is known for certain only when it is closed.
    pub(super) fn on_transfer_withdrawn(&mut self, id: TransferId, in_use: bool, now: Instant) {
        let Some(at) = self.transfers.iter().position(|transfer| transfer.id() == id) else {
            return;
        };
        let Some(transfer) = self.transfers.get_mut(at) else { return };
        let Stage::Withdrawing { outcome } = transfer.stage else { return };
        if in_use {
            for side in transfer.awaiting() {
                self.on_pinhole_used(id, side, now);
            }
            return;
        }
        let path = transfer.path();
        let closed = transfer.close_pinholes(outcome);
        self.transfers.swap_remove(at);
        for closed in closed {
            self.report_closed(id, path, closed);
        }
    }

    fn report_closed(&mut self, transfer: TransferId, path: DataPath, closed: ClosedPinhole) {
        let ClosedPinhole { mode, outcome } = closed;
        self.report(Report::PinholeClosed { transfer, path, mode, outcome });
    }

    pub(super) fn offered_mut(&mut self) -> Option<&mut Transfer> {
        self.transfers.iter_mut().find(|transfer| transfer.expires_at().is_some())
    }
}
