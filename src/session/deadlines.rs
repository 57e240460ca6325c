//! Every time that may be over: the next one, and what then. What each is counted from stands with
//! what it is about.

use super::transfer::Transfer;
use super::{Phase, Session, replies};
use crate::report::CloseCause;
use std::time::Instant;

impl Session {
    /// Tells the session that the time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_transfers(now);
        if self.phase == Phase::Closed {
            return;
        }
        let over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if over(self.handshake_deadline()) {
            self.close(Some(replies::TLS_TIMEOUT), CloseCause::TlsTimeout, now);
        } else if over(self.first_line_deadline()) {
            self.end_silence(now);
        } else if over(self.login_deadline()) {
            self.close(Some(replies::LOGIN_TIMEOUT), CloseCause::LoginTimeout, now);
        } else if over(self.answer_deadline()) {
            self.tell_failed_transfer();
            self.close(Some(replies::SERVER_SILENT), CloseCause::ServerSilent, now);
        } else {
            if over(self.directory_deadline()) {
                // Ends nothing: the silence may be over as well.
                self.give_up_directory();
            }
            if over(self.idle_deadline()) {
                self.close(Some(replies::IDLE_TIMEOUT), self.cause_of_silence(), now);
            }
        }
        self.pump(now);
        self.settle_drain(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transfers = self.transfers.iter().filter_map(Transfer::expires_at);
        let control = match self.phase {
            Phase::Closed => None,
            Phase::Connecting | Phase::Open => {
                let deadlines = [
                    self.login_deadline(),
                    self.first_line_deadline(),
                    self.handshake_deadline(),
                    self.idle_deadline(),
                    self.answer_deadline(),
                    self.directory_deadline(),
                    self.early_reply_deadline(),
                    self.drain_deadline(),
                ];
                deadlines.into_iter().flatten().min()
            }
        };
        transfers.chain(control).min()
    }
}
