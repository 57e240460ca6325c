//! What the owner's rules say to the client: asked about its server, and about each of its lines ahead
//! of everything else that becomes of it.
//!
//! A rule may ask for what an outstanding reply decides: whom the server has logged in, how data is
//! protected. The client's next line is not read before that is known, so that nothing can be sent
//! ahead of its own verdict. For the directory see `directory`.
//!
//! Not here: the rules themselves (see [`crate::policy`]).

use super::directory::{self, Directory, Waiting};
use super::pending::Pending;
use super::termination::ClientTls;
use super::{Phase, Session, Settings, TlsStart, replies, unsure_reply};
use crate::ftp::{Code, Command, Verb};
use crate::policy::{Policy, Question, Rule, RuleVerdict, Subject, TlsState};
use crate::report::{CloseCause, ControlProtection, Refusal, Report};
use crate::terms::{ProtectionLevel, Side};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// What stands for a verb where the client is refused ahead of its first one.
const CONNECT: &str = "CONNECT";

/// The replies that accept USER, PASS or ACCT, or ask for the next one (RFC 959 §5.4, RFC 2228 §5).
const LOGIN_CODES: [u16; 6] = [202, 230, 232, 331, 332, 336];

/// What the rules are asked about besides what every session knows. Kept only where there are rules.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// The argument of the last USER that the server has not refused.
    user: Option<Box<[u8]>>,
    /// That of the one that it has not answered.
    asked: Option<Box<[u8]>>,
    /// The name in the client's hello, where the server has to prove it.
    name: Option<Box<str>>,
    /// The user before, while the login of another one is under way.
    former: Option<Box<[u8]>>,
    /// The last command that went to the server, but for NOOP, is an RNFR, which it has accepted.
    renames: bool,
    pub(super) directory: Directory,
    /// The last command that went to the server is one that the next one belongs to.
    pub(super) half: bool,
    /// The client's command that waits for the directory.
    pub(super) waiting: Option<Waiting>,
    /// Replies that the server may have sent, or may still send, beside those that are waited for.
    pub(super) excess: u8,
    /// One of them may have been taken for the answer to a login.
    pub(super) user_is_lost: bool,
}

impl Judgement {
    /// What there is to judge by; `None` without rules.
    pub(super) fn of(settings: &Settings) -> Option<Box<Self>> {
        (!settings.policy.rules.is_empty()).then(Box::default)
    }

    /// What was known is void: REIN, or lines that cannot be read.
    fn forget(&mut self) {
        let name = self.name.take();
        let Self { excess, user_is_lost, .. } = *self;
        *self = Self { name, excess, user_is_lost, ..Self::default() };
    }

    /// The rule that refuses it to the user before, while the login of another one is under way: most
    /// servers log a user out at the next USER, some only at the end of the next login.
    fn refusal_to_former<'p>(
        &self,
        policy: &'p Policy,
        subject: &Subject<'_>,
        question: &Question<'_>,
    ) -> Option<&'p Rule> {
        let subject = Subject { user: Some(self.former.as_deref()?), logged_in: true, ..*subject };
        policy.judge(&subject, question).filter(|rule| rule.verdict != RuleVerdict::Allow)
    }
}

impl Session {
    /// The server is about to be dialled.
    pub(super) fn on_server_found(&mut self, server: SocketAddr, now: Instant) {
        let Some(judgement) = &self.judgement else { return };
        if self.phase != Phase::Connecting {
            return;
        }
        let settings = Arc::clone(&self.settings);
        let server = Some(server.ip().to_canonical());
        let subject = Subject { server, ..self.subject(judgement) };
        let Some(rule) = settings.policy.judge(&subject, &Question::Connect) else { return };
        match &rule.verdict {
            RuleVerdict::Allow => {}
            RuleVerdict::Refuse(reply) | RuleVerdict::Close(reply) => {
                self.report_refusal(CONNECT, Some(rule));
                // A client that begins with TLS takes no text.
                let reads = self.client_starts() != TlsStart::Implicit;
                let words = reads.then(|| reply.as_farewell());
                self.close_with(words, CloseCause::Policy, now);
            }
        }
    }

    /// A line of the client: judged, and obeyed if it may pass.
    pub(super) fn judge(&mut self, command: Command, now: Instant) {
        if self.judgement.is_none() {
            return self.on_command(command, now);
        }
        let stray = self.is_stray_rnto(&command).then_some(replies::RNFR_FIRST);
        if let Some(reply) = stray.or_else(|| unsure_reply(&self.settings.policy, &command)) {
            return self.refuse_by(&command, None, Bytes::from_static(reply.as_bytes()));
        }
        if self.has_lost_user(&command) {
            self.report_refusal(command.verb().label(), None);
            return self.close(Some(replies::OUT_OF_STEP), CloseCause::Policy, now);
        }
        if self.asks_for_directory(&command, now) {
            return;
        }
        let Some(judgement) = &self.judgement else { return };
        let settings = Arc::clone(&self.settings);
        let mut subject = self.subject(judgement);
        if command.verb() == Verb::User {
            subject.user = Some(command.argument());
        }
        let (verb, argument) = (command.word(), command.argument());
        let question = Question::Command { verb, argument };
        let logs_in = matches!(command.verb(), Verb::User | Verb::Pass | Verb::Acct);
        let former = (!logs_in)
            .then(|| judgement.refusal_to_former(&settings.policy, &subject, &question))
            .flatten();
        let rule = former.or_else(|| settings.policy.judge(&subject, &question));
        match rule.map(|rule| (rule, &rule.verdict)) {
            None | Some((_, RuleVerdict::Allow)) => self.on_command(command, now),
            Some((rule, RuleVerdict::Refuse(reply))) => {
                self.refuse_by(&command, Some(rule), reply.line().clone());
            }
            Some((rule, RuleVerdict::Close(reply))) => {
                self.report_refusal(command.verb().label(), Some(rule));
                self.close_with(Some(reply.line().clone()), CloseCause::Policy, now);
            }
        }
    }

    /// Answers in the server's place, in turn.
    fn refuse_by(&mut self, command: &Command, rule: Option<&Rule>, reply: Bytes) {
        self.report_refusal(command.verb().label(), rule);
        self.pending.push(Pending::Own(reply));
        self.flush_own_replies();
    }

    pub(super) fn report_refusal(&mut self, verb: &'static str, rule: Option<&Rule>) {
        let rule = rule.map(|rule| Arc::clone(&rule.name));
        self.report(Report::Refused { verb, reason: Refusal::Policy, rule });
    }

    /// Text comes where the lines could not be read, so that a CCC has been accepted unseen. True if
    /// the rules refuse one, which ends the session.
    pub(super) fn refuses_unseen_ccc(&mut self, now: Instant) -> bool {
        let Some(judgement) = &self.judgement else { return false };
        let settings = Arc::clone(&self.settings);
        let question = Question::Command { verb: b"CCC", argument: b"" };
        let rule = settings.policy.judge(&self.subject(judgement), &question);
        let Some((rule, RuleVerdict::Refuse(reply) | RuleVerdict::Close(reply))) =
            rule.map(|rule| (rule, &rule.verdict))
        else {
            return false;
        };
        self.report_refusal(Verb::Ccc.label(), Some(rule));
        self.close_with(Some(reply.as_farewell()), CloseCause::Policy, now);
        true
    }

    /// True if the reply to FEAT need not offer this command, which is refused in any case.
    pub(super) fn never_allows(&self, verb: &[u8], argument: &[u8]) -> bool {
        self.judgement.as_ref().is_some_and(|judgement| {
            self.settings.policy.never_allows(&self.subject(judgement), verb, argument)
        })
    }

    /// True while a reply is outstanding that rules may ask about.
    pub(super) fn awaits_standing(&self) -> bool {
        self.judgement.is_some() && self.pending.settles_standing()
    }

    /// True if a rule asks for users, and who this one is cannot be told, or not any more after
    /// `command`: its answer might be one to something else, of the client's choice.
    fn has_lost_user(&self, command: &Command) -> bool {
        let Some(judgement) = &self.judgement else { return false };
        let changes = command.verb() == Verb::User && judgement.excess > 0;
        (judgement.user_is_lost || changes) && self.settings.policy.asks_for_users()
    }

    /// What is known of the session now.
    fn subject<'a>(&'a self, judgement: &'a Judgement) -> Subject<'a> {
        Subject {
            client: self.parties.client.ip().to_canonical(),
            server: self.ends.map(|ends| ends.server()),
            server_name: self.settings.server_name.as_deref().or(judgement.name.as_deref()),
            user: judgement.user.as_deref(),
            logged_in: self.logged_in,
            tls: self.tls_state(),
            data_private: self.is_data_private(),
            directory: judgement.directory.path(),
        }
    }

    fn tls_state(&self) -> Option<TlsState> {
        if self.terminates(Side::Client) {
            return Some(match self.termination.client {
                ClientTls::Secured => TlsState::Secured,
                ClientTls::Cleared => TlsState::Cleared,
                ClientTls::None | ClientTls::Hello | ClientTls::Waiting | ClientTls::Handshake => {
                    TlsState::Clear
                }
            });
        }
        match self.security.control() {
            // With the server only.
            ControlProtection::Clear | ControlProtection::Terminated => Some(TlsState::Clear),
            ControlProtection::Passthrough if self.hides_lines() => None,
            // The login cannot have been inside.
            _ if self.cleared_early => Some(TlsState::Clear),
            ControlProtection::Passthrough | ControlProtection::Cleared => Some(TlsState::Cleared),
        }
    }

    fn is_data_private(&self) -> Option<bool> {
        if self.terminates(Side::Client) {
            return Some(self.ended_protection().0 == ProtectionLevel::Private);
        }
        if self.terminates(Side::Server) {
            return Some(false);
        }
        match (self.security.control(), self.security.data()) {
            // Without TLS on the control connection PROT is words, whatever the server says to it.
            (ControlProtection::Clear, _) => Some(false),
            (ControlProtection::Passthrough, _) | (_, ProtectionLevel::Unknown) => None,
            (_, level) => Some(level == ProtectionLevel::Private),
        }
    }

    /// The command is on its way to the server.
    pub(super) fn note_forwarded(&mut self, command: &Command) {
        let Some(judgement) = &mut self.judgement else { return };
        if command.verb() == Verb::User {
            judgement.asked = Some(command.argument().into());
        }
        // It moves nothing, and keeps a client alive.
        judgement.renames &= command.verb() == Verb::Noop;
        judgement.half = directory::is_half(command.verb());
        judgement.directory.note_forwarded(command.verb());
        if command.verb() == Verb::Abor {
            // The transfer may be answered, the ABOR, and its end once more.
            self.note_excess();
        }
    }

    /// RNFR has been answered. A server that refuses one may keep the one before (Pure-FTPd).
    pub(super) fn note_rename(&mut self, code: Option<u16>) {
        if let Some(judgement) = &mut self.judgement {
            judgement.renames = code.is_some_and(|code| (300..400).contains(&code));
        }
    }

    /// True for an RNTO that does not come right behind its RNFR (RFC 959 §4.1.3), where rules ask for
    /// paths: vsftpd and Pure-FTPd read the name in RNFR from where the client is at RNTO.
    fn is_stray_rnto(&self, command: &Command) -> bool {
        let renames = self.judgement.as_ref().is_some_and(|judgement| judgement.renames);
        command.verb() == Verb::Rnto && !renames && self.settings.policy.asks_for_paths()
    }

    /// USER, PASS or ACCT has been answered.
    pub(super) fn settle_user(&mut self, code: Code) {
        let logged_in = self.logged_in;
        let Some(judgement) = &mut self.judgement else { return };
        match code.value() {
            230 | 232 => judgement.former = None,
            300..400 if logged_in => judgement.former = judgement.user.clone(),
            _ => {}
        }
        if code.is_negative() {
            judgement.asked = None;
        } else if LOGIN_CODES.contains(&code.value()) && judgement.asked.is_some() {
            judgement.user = judgement.asked.take();
        }
    }

    /// The client asks for this name in its hello. Where the server's certificate is verified for it,
    /// it is the server's.
    pub(super) fn note_name(&mut self, name: Option<&str>) {
        let proven = self.terminates(Side::Server) && self.settings.proves_names;
        if let Some(judgement) = &mut self.judgement
            && proven
        {
            judgement.name = name.map(Into::into);
        }
    }

    /// What was known of the client is void: REIN, or its lines cannot be read from here on.
    pub(super) fn forget_standing(&mut self) {
        if let Some(judgement) = &mut self.judgement {
            judgement.forget();
        }
    }
}
