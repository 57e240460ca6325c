//! What a line of the client leads to: forwarded, held, answered here, or the end of the session.

use super::pending::Pending;
use super::security::{Mechanism, Request};
use super::{Phase, Session, named, replies};
use crate::ftp::{Command, EpsvArgument, Line, LineItem, LineViolation, Verb, parse_epsv};
use crate::policy::Verdict;
use crate::report::{CloseCause, Refusal, Report};
use crate::session::{Action, TlsMode, TlsStart};
use crate::terms::Side;
use crate::tls::record;
use bytes::Bytes;
use std::time::Instant;

/// IAC IP, IAC DM: the Telnet Synch that goes ahead of ABOR, its Data Mark being urgent
/// (RFC 959 §4.1.3, RFC 854).
const TELNET_SYNCH: &[u8] = &[0xff, 0xf4, 0xff, 0xf2];

impl Session {
    /// Reads the client's next line if it may be read. True if there was something.
    pub(super) fn pump_client(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Connecting => return self.read_early_line(now),
            Phase::Open if self.tunnel.hides(Side::Client) || self.tunnel.splits_record() => {
                return false;
            }
            Phase::Open => {}
            Phase::Closed => return false,
        }
        if self.termination_holds_client() {
            return false;
        }
        if matches!(self.pending.front(), Some(Pending::Greeting)) {
            return self.read_early_line(now);
        }
        let waits = self.is_opening()
            || self.awaits_standing()
            || self.awaits_directory()
            || !self.pending.admits_more();
        if waits || self.drain.silences_client() {
            return false;
        }
        if let Some(line) = self.early_line.take() {
            self.on_client_line(line, now);
            return true;
        }
        if !self.first_line_seen && self.begins_tls_unasked(now) {
            return true;
        }
        if !self.drop_late_records(Side::Client, now) {
            return false;
        }
        match self.next_client_item(now) {
            Some(line) => self.on_client_line(line, now),
            None => return false,
        }
        true
    }

    /// Before the greeting only the first line is looked at, and only to see whether it is FTP: the
    /// server speaks first (case 3).
    fn read_early_line(&mut self, now: Instant) -> bool {
        let start = self.client_starts();
        if self.early_line.is_some() || start == TlsStart::Implicit {
            return false;
        }
        if self.begins_tls_unasked(now) {
            return true;
        }
        if start == TlsStart::ImplicitAfterGreeting {
            return false;
        }
        let Some(line) = self.next_client_item(now) else { return false };
        if self.judge_first_line(&line, now) {
            self.early_line = Some(line);
        }
        true
    }

    /// How the client begins; one whose TLS has nothing to do with the gateway begins with text.
    pub(super) fn client_starts(&self) -> TlsStart {
        match self.settings.tls {
            TlsMode::Originate | TlsMode::Refuse => TlsStart::Explicit,
            TlsMode::Passthrough | TlsMode::Intercept | TlsMode::Offload => {
                self.settings.client_start
            }
        }
    }

    /// Ends the session of a client that begins with TLS where text is due (case 41): it would wait
    /// for an answer that no server gives.
    fn begins_tls_unasked(&mut self, now: Instant) -> bool {
        let first = self.client_reader.line_start().and_then(<[u8]>::first).copied();
        let unasked = first.is_some_and(record::begins_record);
        if unasked {
            self.close(Some(replies::TLS_START), CloseCause::TlsStart, now);
        }
        unasked
    }

    fn next_client_item(&mut self, now: Instant) -> Option<Line> {
        loop {
            match self.client_reader.next_item()? {
                LineItem::Line(line) => return Some(line),
                LineItem::Answer(answer) => self.answer_client(answer),
                LineItem::Violation(LineViolation::TooLong) => {
                    self.close(Some(replies::LINE_TOO_LONG), CloseCause::LineTooLong, now);
                }
                LineItem::Violation(LineViolation::ForbiddenByte) => {
                    self.close(Some(replies::FORBIDDEN_BYTE), CloseCause::ForbiddenByte, now);
                }
            }
        }
    }

    /// False if the session ends here: HTTP or another protocol was sent to the control port, the
    /// way in for NAT slipstreaming (case 3), or a reply where a command is due (case 5).
    fn judge_first_line(&mut self, line: &Line, now: Instant) -> bool {
        self.first_line_seen = true;
        let command = Command::parse(line.clone());
        if command.looks_like_reply() {
            self.close(Some(replies::NOT_A_COMMAND), CloseCause::RolesReversed, now);
            return false;
        }
        if command.is_http() || command.ends_as_http() || command.verb() == Verb::Other {
            self.close(Some(replies::NOT_FTP), CloseCause::NotFtp, now);
            return false;
        }
        true
    }

    fn on_client_line(&mut self, line: Line, now: Instant) {
        if !self.first_line_seen && !self.judge_first_line(&line, now) {
            return;
        }
        let command = Command::parse(line);
        if command.looks_like_reply() {
            self.close(Some(replies::NOT_A_COMMAND), CloseCause::RolesReversed, now);
            return;
        }
        if !self.logged_in && command.is_http() {
            self.close(Some(replies::NOT_FTP), CloseCause::NotFtp, now);
            return;
        }
        self.report(Report::CommandReceived { verb: command.verb().label() });
        if command.verb() == Verb::Other && !self.forgives_unknown_verb() {
            return self.close(Some(replies::NOT_FTP), CloseCause::NotFtp, now);
        }
        self.judge(command, now);
    }

    /// What becomes of a command that the owner's rules let pass.
    pub(super) fn on_command(&mut self, command: Command, now: Instant) {
        if self.refuses_in_drain(&command) || self.on_protection_command(&command) {
            return;
        }
        match command.verb() {
            Verb::Port | Verb::Eprt | Verb::Pasv | Verb::Cpsv => {
                self.on_data_command(command, now);
            }
            Verb::Epsv => match parse_epsv(command.argument()) {
                EpsvArgument::All => self.forward(&command, Pending::EpsvAll),
                EpsvArgument::None
                | EpsvArgument::Ipv4
                | EpsvArgument::Ipv6
                | EpsvArgument::Unknown => self.on_data_command(command, now),
            },
            Verb::Lprt | Verb::Lpsv => self.refuse(&command, Refusal::LongAddress),
            Verb::User | Verb::Pass | Verb::Acct if self.lacks_tls() => {
                self.refuse(&command, Refusal::TlsRequired);
            }
            Verb::User | Verb::Pass | Verb::Acct => {
                let user = named::user_of(&command);
                self.forward(&command, Pending::Login { user });
            }
            Verb::Feat => self.forward(&command, Pending::Feat),
            Verb::Rein => self.forward(&command, Pending::Rein),
            Verb::Auth => self.on_auth(&command, now),
            Verb::Adat | Verb::Prot | Verb::Sscn => {
                let request = Request::of(&command);
                self.forward(&command, request.map_or(Pending::Plain, Pending::Security));
            }
            Verb::Mic | Verb::Conf | Verb::Enc => self.forward(&command, Pending::Enclosed),
            Verb::Abor => {
                if command.line().synch() {
                    let bytes = Bytes::from_static(TELNET_SYNCH);
                    self.actions.push_back(Action::SendUrgent { to: Side::Server, bytes });
                }
                self.forward(&command, Pending::Abor);
            }
            Verb::Quit => {
                self.client_has_quit = true;
                self.forward(&command, Pending::Plain);
            }
            verb if verb.transfers_data() => {
                if let Verdict::Refuse(reason) = self.settings.policy.may_negotiate(self.logged_in)
                {
                    return self.refuse(&command, reason);
                }
                let pending = self.name_transfer(&command);
                self.forward(&command, pending);
                self.dial_waiting_server();
            }
            _ => {
                let change = named::change_of(&command).map(Pending::Change);
                self.forward(&command, change.unwrap_or(Pending::Plain));
            }
        }
    }

    /// True if TLS is required and the client has none that ends here.
    fn lacks_tls(&self) -> bool {
        let secured = self.terminates(Side::Client) && self.termination.is_client_secured();
        self.settings.tls_required && !secured
    }

    fn on_auth(&mut self, command: &Command, now: Instant) {
        if matches!(self.settings.tls, TlsMode::Refuse | TlsMode::Originate) {
            return self.refuse(command, Refusal::AuthRefused);
        }
        if self.terminates(Side::Client) {
            return self.on_terminated_auth(command, now);
        }
        let Some(request) = Request::of(command) else { return };
        if self.settings.tls_required && request == Request::Auth(Mechanism::Enclosing) {
            return self.refuse_with(command, Refusal::TlsRequired, replies::ONLY_TLS);
        }
        self.forward(command, Pending::Security(request));
    }

    fn on_data_command(&mut self, command: Command, now: Instant) {
        if let Verdict::Refuse(reason) = self.settings.policy.may_negotiate(self.logged_in) {
            self.refuse(&command, reason);
        } else if self.epsv_only && command.verb() != Verb::Epsv {
            self.refuse(&command, Refusal::AfterEpsvAll);
        } else if !self.ask_for_protection(&command) {
            self.negotiate(command, now);
        }
    }

    /// Sends the client's line on as it came and remembers what its reply means.
    pub(super) fn forward(&mut self, command: &Command, pending: Pending) {
        self.send(Side::Server, command.line().raw().clone());
        self.note_forwarded(command);
        self.take_upload();
        self.pending.push(pending);
    }

    /// Answers in the server's place, in turn.
    pub(super) fn refuse(&mut self, command: &Command, reason: Refusal) {
        self.refuse_with(command, reason, replies::refusal(reason));
    }

    /// Answers in the server's place, in turn, in words that are not the reason's usual ones.
    pub(super) fn refuse_with(&mut self, command: &Command, reason: Refusal, reply: &'static str) {
        self.report(Report::Refused { verb: command.verb().label(), reason, rule: None });
        self.pending.push(Pending::Own(Bytes::from_static(reply.as_bytes())));
        self.flush_own_replies();
    }

    /// Sends the own replies that have come to the head of the queue.
    pub(super) fn flush_own_replies(&mut self) {
        while let Some(own) = self.pending.pop_own() {
            match own {
                Pending::Own(reply) => self.answer_client(reply),
                _ => self.on_own_ccc(),
            }
        }
    }
}
