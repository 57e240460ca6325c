//! The executor of a play: does what the session wants, keeps what it did, and answers.

use super::super::layer::Layer;
use super::super::vocabulary::record;
use super::{Play, Seen};
use ftpgate::report::Report;
use ftpgate::session::{Action, Event, Leg};
use ftpgate::terms::{DataPath, Side, TransferId};
use std::net::SocketAddr;

impl Play<'_> {
    /// True if the executor has told what became of opening this transfer: nothing else of it can
    /// be told before.
    pub(super) fn has_answered(&self, id: TransferId) -> bool {
        id.0 <= self.last_transfer && !self.opening.iter().any(|plan| plan.id == id)
    }

    pub(super) fn answer(&mut self, opened: bool) {
        let Some(plan) = self.opening.pop_front() else { return };
        self.judge.on_answer();
        if !opened {
            return self.tell(Event::TransferFailed { id: plan.id });
        }
        let client_entry = self.entry(&plan.client);
        let server_entry = self.entry(&plan.server);
        self.judge.on_opened(&plan, client_entry, server_entry);
        self.tell(Event::TransferOpened { id: plan.id, client_entry, server_entry });
    }

    fn entry(&mut self, leg: &Leg) -> Option<SocketAddr> {
        let Leg::Await(expected) = leg else { return None };
        self.next_port += 1;
        Some(SocketAddr::new(expected.address, expected.port.unwrap_or(self.next_port)))
    }

    pub(super) fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            self.judge.on_action(&action);
            if let Some(ruled) = &mut self.ruled {
                ruled.on_action(&action, self.server.truth());
            }
            if let Action::Report(
                Report::PinholeClosed { .. }
                | Report::DataConnectionStarted { .. }
                | Report::DataConnectionEnded { .. },
            ) = action
            {
                self.news.push(action);
                continue;
            }
            if let Action::Report(Report::BlindRangeOpened { .. }) = action {
                // Told unless the session has ended before the executor's answer.
                continue;
            }
            if let Action::Report(Report::TransferNamed { .. }) = action {
                // Told later if the connection comes after the command.
                continue;
            }
            if let Action::TakeUpload { id } = action
                && self.withdrawn.contains(&id)
            {
                // Means nothing any more, and is left out once the executor's answer is heard.
                continue;
            }
            match (&action, self.trace.last_mut()) {
                (Action::SendBytes { to, bytes }, Some(Seen::Sent(side, sent))) if side == to => {
                    sent.extend_from_slice(bytes);
                }
                (Action::SendBytes { to, bytes }, _) => {
                    self.trace.push(Seen::Sent(*to, bytes.to_vec()));
                }
                _ => self.trace.push(Seen::Did(action.clone())),
            }
            self.execute_tls(&action);
            if let Action::SendBytes { to: Side::Server, bytes } = &action
                && !self.judge.was_secured()
            {
                self.server.hears(bytes, self.judge.ends_clients_tls());
            }
            if let Action::OpenBlindRange(range) = action {
                self.had_range = true;
                let opened = Event::BlindRangeOpened { range };
                self.session.handle_event(opened, self.now);
            }
            if let Action::WithdrawTransfer { id } = action {
                let in_use = self.script.overtaken && self.kernel.contains(&id);
                if !in_use {
                    self.withdrawn.insert(id);
                }
                self.session.handle_event(Event::TransferWithdrawn { id, in_use }, self.now);
            }
            if let Action::OpenTransfer(plan) = action {
                if plan.path == DataPath::Kernel {
                    self.kernel.insert(plan.id);
                }
                self.last_transfer = plan.id.0;
                self.opening.push_back(plan);
                if self.script.prompt {
                    self.answer(true);
                }
            }
        }
    }

    fn execute_tls(&mut self, action: &Action) {
        match action {
            Action::AcceptTls => self.layers.set(Side::Client, Layer::Hello),
            Action::ConnectTls => self.layers.set(Side::Server, Layer::Handshake),
            Action::PresentCertificate(_) => self.layers.set(Side::Client, Layer::Handshake),
            Action::CarryTls => {
                self.layers.set(Side::Client, Layer::Text);
                let bytes = record("handshake");
                self.judge.on_delivered(Side::Client, bytes);
                let event = Event::BytesReceived { from: Side::Client, bytes };
                self.session.handle_event(event, self.now);
            }
            Action::EndTls { side } => self.layers.set(*side, Layer::Ended),
            _ => {}
        }
    }
}
