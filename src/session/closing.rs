//! How a session ends: a peer that goes, a time that is over, and the farewell.

use super::transfer::Transfer;
use super::{Action, Phase, Session, replies};
use crate::report::{CloseCause, Report};
use crate::terms::Side;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How long the replies of a client that has ended its sending side are waited for: it may be gone
/// altogether, which TCP does not tell.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(30);

impl Session {
    /// A client that ends its sending side may still wait for replies: its lines are worked off
    /// first. Everything that a server said before its end has been passed on already.
    pub(super) fn on_closed(&mut self, side: Side, orderly: bool, now: Instant) {
        match side {
            Side::Client if orderly && self.phase != Phase::Closed => {
                self.client_ended = true;
                self.last_activity = now;
            }
            Side::Client => self.close(None, self.cause_of_client_end(), now),
            // Its client is told why when it is done with its handshake.
            Side::Server if self.termination.refuses() => {}
            Side::Server => {
                self.hurry_early_reply();
                self.pump(now);
                self.tell_failed_transfer();
                let (farewell, cause) = match self.pending.front() {
                    _ if self.client_has_quit => (None, CloseCause::Quit),
                    // It takes AUTH for nonsense, since it waits for TLS or knows none.
                    Some(pending) if self.terminates(Side::Server) && pending.is_auth() => {
                        (Some(replies::TLS_START), CloseCause::TlsStart)
                    }
                    // Its client waits for a reply that does not come any more.
                    pending if pending.is_some() || self.is_opening() => {
                        let told = self.server_has_quit;
                        ((!told).then_some(replies::SERVER_CLOSED), CloseCause::ServerClosed)
                    }
                    _ => (None, CloseCause::ServerClosed),
                };
                self.close(farewell, cause, now);
            }
        }
    }

    pub(super) fn cause_of_client_end(&self) -> CloseCause {
        if self.client_has_quit { CloseCause::Quit } else { CloseCause::ClientClosed }
    }

    /// Why a session ends in which nothing is said: a client that has ended its sending side, and has
    /// had no reply since, is taken for gone.
    pub(super) fn cause_of_silence(&self) -> CloseCause {
        if self.client_ended { self.cause_of_client_end() } else { CloseCause::IdleTimeout }
    }

    /// Says good-bye and closes everything.
    pub(super) fn close(
        &mut self,
        farewell: Option<&'static str>,
        cause: CloseCause,
        now: Instant,
    ) {
        let farewell = farewell.map(|reply| Bytes::from_static(reply.as_bytes()));
        self.close_with(farewell, cause, now);
    }

    /// The one exit of every session.
    pub(super) fn close_with(&mut self, farewell: Option<Bytes>, cause: CloseCause, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        self.withdraw_offered();
        // No command comes any more that it could wait for.
        self.take_upload();
        self.report_ccc_at_close();
        self.close_blind_range();
        // A farewell may not be put into the middle of a reply, or into TLS records.
        if let Some(reply) = farewell
            && self.client_reads_text()
            && self.termination.client_reads()
            && !self.is_amid_reply()
        {
            self.send(Side::Client, reply);
        }
        while !self.pending.is_empty() {
            self.drop_unanswered();
        }
        self.phase = Phase::Closed;
        self.early_reply = None;
        let duration = now.saturating_duration_since(self.started);
        self.report(Report::SessionEnded { cause, duration });
        self.actions.push_back(Action::CloseSession);
    }

    /// True if the client has been sent a part of a reply, and awaits the rest. What is held back of one
    /// is none to the client.
    pub(super) fn is_amid_reply(&self) -> bool {
        !self.replies.at_boundary() && self.reply_shown
    }

    pub(super) fn login_deadline(&self) -> Option<Instant> {
        // A login where lines are not read cannot be seen.
        let waits = !self.logged_in && !self.hides_lines() && !self.awaits_tls();
        waits.then(|| self.login_since + self.settings.login_timeout)
    }

    pub(super) fn idle_deadline(&self) -> Option<Instant> {
        // RFC 959 leaves the control connection silent for as long as a transfer runs (case 44).
        // Where lines are not read not all transfers are seen; there only TCP's keepalive tells a
        // dead peer.
        let runs = self.blind.runs() || self.transfers.iter().any(Transfer::is_running);
        let busy = runs || self.hides_lines();
        let timeout = if self.client_ended {
            self.settings.idle_timeout.min(HALF_CLOSED_TIMEOUT)
        } else {
            self.settings.idle_timeout
        };
        (!busy).then(|| self.last_activity + timeout)
    }
}
