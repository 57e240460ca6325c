//! PBSZ, PROT and CCC of a client whose TLS ends at the gateway (RFC 4217 §8 to §12), and what holds
//! for the data connections of each side.
//!
//! The two sides are independent. The server is asked for PROT P once, whatever the client wants:
//! what is in the clear towards the client need not be so on the other side. A server that refuses it
//! leaves its own data connections in the clear, and then a client is not given what it asks for
//! either: it would believe its data protected all the way.

use super::own_command::OwnCommand;
use super::termination::{ClientTls, ServerTls};
use super::{Action, ServerCcc, Session, replies};
use crate::ftp::{Command, Verb};
use crate::report::{CccOutcome, ControlProtection, Refusal, Report};
use crate::terms::{ProtectionLevel, Side};

/// What is agreed about data connections on each side, and what is being agreed.
#[derive(Debug, Default)]
pub(super) struct Protection {
    /// What the client asked for last.
    client: ProtectionLevel,
    /// PBSZ has come.
    has_buffer_size: bool,
    /// What the server granted; `None` before it was asked.
    pub(super) server: Option<ProtectionLevel>,
    /// The client's command that waits for the server's answer.
    pub(super) waiting: Option<Command>,
    /// CCC follows towards the server.
    pub(super) ccc_is_due: bool,
    /// The client waits for its own CCC to be answered.
    pub(super) client_asked_ccc: bool,
}

impl Protection {
    /// TLS begins anew on the client's side.
    pub(super) fn begin(&mut self, level: ProtectionLevel) {
        self.client = level;
        self.has_buffer_size = false;
    }
}

impl Session {
    /// What the gateway has to give the next data connection on the client's leg and on the server's.
    /// Where TLS does not end here that is nothing, whatever the peers do.
    pub(super) fn ended_protection(&self) -> (ProtectionLevel, ProtectionLevel) {
        let client = self.termination.is_client_secured().then_some(self.protection.client);
        let server = self.termination.is_server_secured().then_some(self.protection.server);
        (client.unwrap_or_default(), server.flatten().unwrap_or_default())
    }

    /// What one line in a log or one label can say of a data connection: the weaker side counts, of
    /// those where TLS ends here.
    pub(super) fn told_protection(&self) -> ProtectionLevel {
        let (client, server) = self.ended_protection();
        match (self.terminates(Side::Client), self.terminates(Side::Server)) {
            (false, false) => self.security.data(),
            (true, false) => client,
            (false, true) => server,
            (true, true) => client.min(server),
        }
    }

    /// A command about protection that this gateway answers itself. False for any other.
    pub(super) fn on_protection_command(&mut self, command: &Command) -> bool {
        if !self.terminates_any() {
            return false;
        }
        match command.verb() {
            // Neither has a meaning where each side's TLS ends here.
            Verb::Sscn | Verb::Cpsv | Verb::Adat | Verb::Mic | Verb::Conf | Verb::Enc => {
                self.answer(replies::NOT_IMPLEMENTED);
            }
            // RFC 4217 §11 has TLS end with it; servers answer 502.
            Verb::Rein => self.answer(replies::NOT_IMPLEMENTED),
            Verb::Pbsz | Verb::Prot | Verb::Ccc => match self.termination.client {
                ClientTls::Secured => self.on_secured_command(command),
                ClientTls::Cleared => self.answer(replies::AFTER_CCC),
                _ => self.answer(replies::NOT_SECURED),
            },
            _ => return false,
        }
        true
    }

    fn on_secured_command(&mut self, command: &Command) {
        match command.verb() {
            Verb::Pbsz
                if command.argument().iter().all(u8::is_ascii_digit)
                    && !command.argument().is_empty() =>
            {
                self.protection.has_buffer_size = true;
                self.answer(replies::BUFFER_SIZE);
            }
            Verb::Pbsz => self.answer(replies::BAD_ARGUMENT),
            Verb::Prot => self.on_prot(command),
            _ => self.on_ccc(),
        }
    }

    fn on_prot(&mut self, command: &Command) {
        if !self.protection.has_buffer_size {
            return self.answer(replies::PBSZ_FIRST);
        }
        match command.argument() {
            b"C" | b"c" => {
                self.protection.client = ProtectionLevel::Clear;
                self.answer(replies::PROT_ACCEPTED);
            }
            b"P" | b"p" => self.on_prot_private(command),
            b"S" | b"s" | b"E" | b"e" => self.answer(replies::PROT_UNSUPPORTED),
            _ => self.answer(replies::PROT_UNKNOWN),
        }
    }

    fn on_prot_private(&mut self, command: &Command) {
        if self.terminates(Side::Server) {
            if self.ask_for_protection(command) {
                return;
            }
            if self.protection.server == Some(ProtectionLevel::Clear) {
                let verb = command.verb().label();
                let reason = Refusal::ServerUnprotected;
                self.report(Report::Refused { verb, reason, rule: None });
                return self.answer(replies::SERVER_UNPROTECTED);
            }
        }
        self.protection.client = ProtectionLevel::Private;
        self.answer(replies::PROT_ACCEPTED);
    }

    fn on_ccc(&mut self) {
        if !self.logged_in {
            return self.answer(replies::CCC_BEFORE_LOGIN);
        }
        let follows = self.settings.server_ccc != ServerCcc::Never;
        if self.termination.server != ServerTls::Secured || !follows {
            return self.clear_client();
        }
        self.protection.client_asked_ccc = true;
        if self.protection.server.is_none() {
            // After CCC the server takes no PROT any more.
            self.protection.ccc_is_due = true;
            self.send_own(OwnCommand::Pbsz);
        } else {
            self.send_own(OwnCommand::Ccc);
        }
    }

    /// The client's control connection is text from here on.
    pub(super) fn end_client_tls(&mut self) {
        self.termination.client = ClientTls::Cleared;
        self.tunnel.show_late(Side::Client);
        self.actions.push_back(Action::EndTls { side: Side::Client });
        self.security.clear_terminated();
        self.report(Report::CccObserved { outcome: CccOutcome::Cleared, passed: None });
        self.report(Report::ProtectionChanged { state: ControlProtection::Cleared });
    }

    /// True while this peer may end its TLS ahead of being asked to go on in text: CCC is being
    /// agreed with it.
    pub fn may_clear(&self, side: Side) -> bool {
        match side {
            Side::Client => self.protection.client_asked_ccc,
            Side::Server => self.pending.asks_ccc(),
        }
    }
}
