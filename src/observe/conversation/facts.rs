//! What the session reports of one control connection, and what is worth noting of it.

use super::Conversation;
use crate::ftp::Verb;
use crate::observe::finding::Finding;
use crate::observe::record::{MAX_ROWS, Opening};
use crate::report::{CccOutcome, PeerText, Refusal, Report, RewrittenLine};

impl Conversation {
    pub(super) fn note_report(&mut self, report: Report) {
        match report {
            Report::LoginAccepted { user } => {
                let user = user.map(|user| user.to_string());
                let anonymous =
                    user.as_deref().is_some_and(|user| matches!(user, "anonymous" | "ftp"));
                if user.is_some() && !anonymous && !self.is_hidden() {
                    self.control.find(Finding::ClearLogin, user.clone());
                }
                self.control.user = user.or(self.control.user.take());
            }
            Report::CommandReceived { verb } => self.note_command(verb),
            Report::Refused { reason, .. } => self.note_refusal(reason),
            Report::LineRewritten { line } => {
                self.control.rewrites_total += 1;
                self.rewriting = (line != RewrittenLine::Feat).then_some(line);
            }
            Report::PinholeOpened { mode, pinhole, .. } => {
                self.control.openings_total += 1;
                if self.control.openings.len() < MAX_ROWS {
                    self.control.openings.push(Opening {
                        mode: mode.label(),
                        peer: pinhole.peer.to_string(),
                        entry: pinhole.entry.to_string(),
                    });
                }
            }
            Report::ProtectionChanged { state } => {
                self.protection = state;
                self.control.protection = state.label();
            }
            Report::CccObserved { outcome, .. } => {
                self.control.ccc = Some(outcome.label());
                match outcome {
                    CccOutcome::Cleared => {}
                    CccOutcome::Early => self.control.find(Finding::EarlyText, None),
                    CccOutcome::Halfway => self.control.find(Finding::CccHalfway, None),
                    CccOutcome::Missing => self.control.find(Finding::Blind, None),
                }
            }
            Report::SessionEnded { cause, .. } => {
                self.control.close = Some(cause.label());
                if let Some(finding) = Finding::of_close(cause) {
                    self.control.find(finding, Some(cause.label().to_owned()));
                }
            }
            Report::SessionStarted { .. }
            | Report::SessionRefused { .. }
            | Report::ServerConnected { .. }
            | Report::LoginRefused { .. }
            | Report::ChangeEnded { .. }
            | Report::TransferNamed { .. }
            | Report::NameAsked { .. }
            | Report::ServerCertificateShown { .. }
            | Report::LineDistrusted { .. }
            | Report::PinholeClosed { .. }
            | Report::DataConnectionStarted { .. }
            | Report::DataConnectionEnded { .. }
            | Report::TlsRoleTurned { .. }
            | Report::BlindRangeOpened { .. }
            | Report::BlindRangeFailed { .. }
            | Report::HandshakeEnded { .. }
            | Report::LeafShown { .. }
            | Report::ClientCertificateAccepted { .. } => {}
        }
    }

    fn note_command(&mut self, verb: &'static str) {
        let known = Verb::parse(verb.as_bytes());
        if known.negotiates_data() || matches!(known, Verb::Lprt | Verb::Lpsv) {
            *self.control.negotiations.entry(verb).or_default() += 1;
        }
        if known.transfers_data() {
            self.command_sent();
        }
    }

    /// The line itself tells more than the refusal: who is named, and where the data goes all the same.
    fn note_refusal(&mut self, reason: Refusal) {
        match reason {
            Refusal::ThirdPartyAddress => self.agree_active(None),
            Refusal::ForeignServerAddress => self.agree_passive(None),
            // The peers go on in TLS, which no gateway of these settings would ever see.
            Refusal::AuthRefused => self.over = true,
            _ => {}
        }
        if let Some(finding) = Finding::of_refusal(reason) {
            let line = match reason {
                Refusal::MalformedReply => self.lines.any_passive(),
                _ => self.lines.data_command().or_else(|| self.lines.any_passive()),
            };
            let line = line.map(|line| format!(": {}", PeerText::new(line))).unwrap_or_default();
            self.control.find(finding, Some(format!("{}{line}", reason.label())));
        }
    }
}
