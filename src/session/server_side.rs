//! What a line of the server leads to: replies are matched to commands in order, and only the reply
//! to a pending PASV or EPSV can lead to a pinhole (cases 1, 2).

use super::named::Named;
use super::own_command::OwnCommand;
use super::pending::Pending;
use super::security::{Change, Mechanism, Request};
use super::{Phase, Session, TlsStart, directory, replies};
use crate::ftp::{self, Code, Line, LineItem, LineViolation, ReplyLine, Verb};
use crate::report::{CloseCause, Distrust, PeerText, Report, RewrittenLine};
use crate::terms::Side;
use bytes::Bytes;
use std::time::Instant;

/// The longest reply, in bytes: STAT of a folder with some ten thousand files is below it (case 22).
const MAX_REPLY: usize = 4 * 1024 * 1024;

/// The longest reply to PASV or EPSV, which is held until its last line: a few lines of text.
const MAX_HELD_REPLY: usize = 16 * 1024;

/// The longest line of a security exchange: a Kerberos ticket with what Active Directory puts into
/// it (64 KiB by default), in Base64.
const TOKEN_LINE: usize = 96 * 1024;

impl Session {
    /// Reads the server's next line if it may be read. True if there was something.
    pub(super) fn pump_server(&mut self, now: Instant) -> bool {
        if self.phase != Phase::Open
            || self.tunnel.hides(Side::Server)
            || self.is_opening()
            || self.termination_holds_server()
            || self.holds_reply(now)
        {
            return false;
        }
        if let Some(line) = self.take_early_reply() {
            self.on_server_line(&line, now);
            return true;
        }
        if !self.drop_late_records(Side::Server, now) {
            return false;
        }
        match self.server_reader.next_item() {
            None => return false,
            Some(LineItem::Line(line)) if self.hold_if_early(&line, now) => {}
            Some(LineItem::Line(line)) => self.on_server_line(&line, now),
            // Not into the records that the client still sends.
            Some(LineItem::Answer(_)) if self.tunnel.hides(Side::Client) => {}
            Some(LineItem::Answer(answer)) => self.send(Side::Server, answer),
            Some(LineItem::Violation(violation)) => {
                let cause = match violation {
                    LineViolation::TooLong => CloseCause::LineTooLong,
                    LineViolation::ForbiddenByte => CloseCause::ForbiddenByte,
                };
                self.close(Some(replies::SERVER_FAULT), cause, now);
            }
        }
        true
    }

    fn on_server_line(&mut self, line: &Line, now: Instant) {
        let text = line.text();
        let starts_reply = self.replies.at_boundary();
        if starts_reply && ftp::looks_like_command(text) {
            self.close(Some(replies::SERVER_FAULT), CloseCause::RolesReversed, now);
            return;
        }
        let reply_line = self.replies.classify(text);
        self.reply_bytes = if starts_reply { 0 } else { self.reply_bytes };
        if starts_reply {
            self.replaces_reply = self.hides_failed_transfer(text);
            self.reply_shown = false;
        }
        self.reply_bytes += line.raw().len();
        if self.reply_bytes > MAX_REPLY {
            self.close(Some(replies::SERVER_FAULT), CloseCause::TooMuch, now);
            return;
        }
        match reply_line {
            ReplyLine::Stray => self.on_stray_line(line, now),
            ReplyLine::First(code) => {
                self.find_command(code);
                self.pass_reply_line(line, now);
            }
            ReplyLine::Text => self.pass_reply_line(line, now),
            ReplyLine::Whole(code) => {
                self.find_command(code);
                self.on_last_line(code, line, now);
            }
            ReplyLine::Last(code) => self.on_last_line(code, line, now),
        }
    }

    /// A line where a reply is due, but without a code (case 24).
    fn on_stray_line(&mut self, line: &Line, now: Instant) {
        if matches!(self.pending.front(), Some(Pending::Greeting)) {
            self.close(Some(replies::SERVER_FAULT), CloseCause::ServerNotFtp, now);
            return;
        }
        let report = Report::LineDistrusted { reason: Distrust::NoReplyCode, from: Side::Server };
        self.report(report);
        if self.termination.client_reads() {
            self.send(Side::Client, line.raw().clone());
        }
    }

    /// A line inside a multi-line reply: passed on at once, unless its reply is held.
    fn pass_reply_line(&mut self, line: &Line, now: Instant) {
        let feat = matches!(self.pending.front(), Some(Pending::Feat));
        let hidden = feat && !self.offers(line.text());
        let passes = self.replies.open_code().is_some_and(|code| self.answers_nothing(code));
        if matches!(self.pending.front(), Some(Pending::Greeting))
            && self.keep_greeting(line.raw(), now)
        {
            return;
        }
        match self.pending.front_mut() {
            Some(Pending::OwnCommand(_) | Pending::LateDirectory) if !passes => {}
            Some(Pending::Transfer { .. }) if self.replaces_reply => {}
            Some(Pending::Data(negotiation)) => {
                negotiation.hold(line.raw().clone());
                if negotiation.reply_size > MAX_HELD_REPLY {
                    self.close(Some(replies::SERVER_FAULT), CloseCause::TooMuch, now);
                }
            }
            Some(Pending::Feat) if hidden => {
                self.report(Report::LineRewritten { line: RewrittenLine::Feat });
            }
            _ => {
                self.reply_shown = true;
                self.send(Side::Client, line.raw().clone());
            }
        }
    }

    /// The line that ends a reply.
    fn on_last_line(&mut self, code: Code, line: &Line, now: Instant) {
        let unheard = matches!(self.pending.front(), Some(Pending::OwnCommand(_)));
        self.server_has_quit = code.value() == 421 && !unheard;
        if code.is_preliminary() {
            self.on_preliminary(line, now);
            return;
        }
        if code.is_protected() && !self.terminates_any() {
            self.pass_enclosed(line);
            return;
        }
        if self.answers_nothing(code) {
            let whole = self.release(line);
            self.pass_unsolicited(code, whole);
            return;
        }
        let Some(pending) = self.pending.pop() else {
            self.pass_unsolicited(code, line.raw().clone());
            return;
        };
        if matches!(pending, Pending::Greeting) {
            self.await_first_line(now);
        }
        let raw = line.raw().clone();
        let readable = !matches!(pending, Pending::Enclosed | Pending::Security(_));
        if self.security.encloses_lines() && readable && code.is_positive() {
            self.show_enclosed();
        }
        match pending {
            Pending::Data(mut negotiation) => {
                negotiation.hold(raw);
                self.on_data_reply(code, negotiation, now);
            }
            Pending::Login { user } => {
                self.settle_user(code);
                self.on_login_reply(code, user);
                self.send(Side::Client, raw);
            }
            Pending::EpsvAll => {
                self.epsv_only |= code.is_positive();
                self.send(Side::Client, raw);
            }
            Pending::Rein => {
                if code.is_positive() {
                    // Without a login in between it gives no more time for one.
                    if std::mem::take(&mut self.logged_in) {
                        self.login_since = now;
                    }
                    self.named = Named::default();
                    self.forget_standing();
                    self.epsv_only = false;
                    self.reset_security();
                    self.withdraw_offered();
                }
                self.send(Side::Client, raw);
            }
            Pending::Security(request) => self.on_security_reply(request, code, raw, now),
            Pending::OwnCommand(command) => {
                self.on_own_reply(command, code, line.text(), now);
            }
            Pending::LateDirectory => {}
            Pending::Feat if self.features() == ftp::Features::OwnTls => {
                self.end_features(code, raw);
            }
            Pending::Greeting if self.terminates_any() => self.on_greeted(code, raw, now),
            Pending::Greeting
                if code.is_positive()
                    && self.settings.client_start == TlsStart::ImplicitAfterGreeting =>
            {
                self.begin_tls(Some(raw), now);
            }
            Pending::Transfer { .. } if std::mem::take(&mut self.replaces_reply) => {
                let reply = self.failure_reply().unwrap_or(raw);
                self.send(Side::Client, reply);
            }
            Pending::Transfer { id, .. } if code.is_negative() => {
                self.forget_refused_name(id);
                self.on_transfer_refused();
                self.send(Side::Client, raw);
            }
            Pending::Greeting
            | Pending::Plain
            | Pending::Transfer { .. }
            | Pending::Change(_)
            | Pending::Feat
            | Pending::Enclosed
            | Pending::Abor => {
                if let Pending::Change(change) = pending {
                    self.on_change_ended(change, Some(code));
                }
                if matches!(code.value(), 227 | 229) {
                    self.distrust(Distrust::UnsolicitedPassiveReply);
                }
                self.send(Side::Client, raw);
            }
            // Own replies leave as soon as they come to the head; none is ever met here.
            Pending::Own(reply) => {
                self.send(Side::Client, reply);
                self.send(Side::Client, raw);
            }
            Pending::OwnCcc => {
                self.on_own_ccc();
                self.send(Side::Client, raw);
            }
        }
        self.flush_own_replies();
    }

    fn on_security_reply(&mut self, request: Request, code: Code, raw: Bytes, now: Instant) {
        if self.terminates(Side::Client) {
            return match (request, code.value()) {
                (Request::Auth(Mechanism::Tls(level)), 234) => {
                    self.on_auth_accepted(level, raw, now);
                }
                _ => self.send(Side::Client, raw),
            };
        }
        match self.security.on_reply(request, code) {
            Change::TlsBegins => return self.begin_tls(Some(raw), now),
            Change::LinesEnclosed => {
                self.allow_tokens();
                // A login that comes enclosed cannot be seen.
                self.logged_in = true;
                return self.hide_lines(Some(raw));
            }
            Change::TokensFollow => self.allow_tokens(),
            Change::TlsBegunBy(side) => self.report(Report::TlsRoleTurned { begun_by: side }),
            Change::Nothing => {}
        }
        self.send(Side::Client, raw);
    }

    /// The lines of a security exchange and the enclosed ones after it are longer than commands.
    fn allow_tokens(&mut self) {
        self.client_reader.raise_limit(TOKEN_LINE);
        self.server_reader.raise_limit(TOKEN_LINE);
    }

    /// An enclosed reply (631, 632, 633): what it says, and whether another one follows, is not
    /// known (RFC 2228 §5).
    fn pass_enclosed(&mut self, last: &Line) {
        let whole = self.release(last);
        let answers = matches!(self.pending.front(), Some(Pending::Enclosed | Pending::Data(_)));
        if answers {
            self.pending.pop();
            self.withdraw_offered();
        }
        self.send(Side::Client, whole);
        self.flush_own_replies();
    }

    /// A 1xx reply: the command is not finished.
    fn on_preliminary(&mut self, line: &Line, now: Instant) {
        let greeting = matches!(self.pending.front(), Some(Pending::Greeting));
        if greeting && self.keep_greeting(line.raw(), now) {
            return;
        }
        match self.pending.front() {
            Some(Pending::Transfer { id, command }) => {
                let (id, command) = (*id, command.clone());
                self.keep_name(id, command);
                self.on_transfer_begun(now);
            }
            Some(Pending::OwnCommand(_)) => return,
            _ => {}
        }
        let whole = self.release(line);
        self.send(Side::Client, whole);
    }

    /// A reply that is not the one awaited: what is held of it, and its last line.
    fn release(&mut self, last: &Line) -> Bytes {
        match self.pending.front_mut() {
            Some(Pending::Data(negotiation)) => {
                negotiation.hold(last.raw().clone());
                negotiation.release()
            }
            _ => last.raw().clone(),
        }
    }

    fn on_login_reply(&mut self, code: Code, user: Option<PeerText>) {
        let another = !code.is_negative() && self.named.take_user(user.clone());
        match code.value() {
            // 232: logged in by the security exchange (RFC 2228 §5).
            230 | 232 => {
                if !self.logged_in || another {
                    let user = self.named.user();
                    self.report(Report::LoginAccepted { user });
                }
                self.logged_in = true;
                self.clear_server_after_login();
            }
            331 | 332 => self.logged_in = false,
            _ => {}
        }
        if code.is_negative() {
            let user = user.or_else(|| self.named.user());
            self.report(Report::LoginRefused { user, code: code.value() });
        }
    }

    /// Before a reply is read, what it cannot answer is taken from the head of the queue.
    fn find_command(&mut self, code: Code) {
        self.drop_late_directory(code);
        self.drop_silent_abort(code);
        self.find_passive(code);
        self.doubt(code);
    }

    /// An ABOR that the server leaves unanswered because its 426 or 226 ended both: the replies of
    /// RFC 959 §5.4 to ABOR are few, so that any other one answers the command behind it.
    fn drop_silent_abort(&mut self, code: Code) {
        while matches!(self.pending.front(), Some(Pending::Abor))
            && !matches!(code.value(), 225 | 226 | 421 | 426 | 500..=502)
        {
            self.pending.pop();
            self.flush_own_replies();
        }
    }

    /// A further 225 or 226 after an ABOR whose transfer had ended by itself: it can be no answer
    /// to PASV, EPSV, PORT or EPRT. Nor is every reply one to the gateway's own PWD.
    pub(super) fn answers_nothing(&self, code: Code) -> bool {
        match self.pending.front() {
            Some(Pending::Data(_)) => matches!(code.value(), 225 | 226),
            Some(Pending::OwnCommand(OwnCommand::Pwd)) => !directory::may_answer(code),
            _ => false,
        }
    }

    /// A 227 to a pending PASV, or a 229 to a pending EPSV, answers just that: whatever stands ahead
    /// of it in the queue was left unanswered (a server that ends ABOR and transfer in one reply).
    fn find_passive(&mut self, code: Code) {
        let Some(negotiation) = self.pending.negotiation() else { return };
        let answers = match negotiation.server_verb {
            Verb::Pasv | Verb::Cpsv => code.value() == 227,
            Verb::Epsv => code.value() == 229,
            _ => false,
        };
        while answers && !matches!(self.pending.front(), Some(Pending::Data(_)) | None) {
            self.drop_unanswered();
            self.note_excess();
            self.flush_own_replies();
        }
    }

    fn pass_unsolicited(&mut self, code: Code, raw: Bytes) {
        let reason = if matches!(code.value(), 227 | 229) {
            Distrust::UnsolicitedPassiveReply
        } else {
            Distrust::UnsolicitedReply
        };
        self.distrust(reason);
        self.note_excess();
        self.send(Side::Client, raw);
    }

    fn distrust(&mut self, reason: Distrust) {
        self.report(Report::LineDistrusted { reason, from: Side::Server });
    }
}
