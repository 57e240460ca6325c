//! TLS that ends at the gateway, on one side or on both (`tls.mode`: intercept, offload, originate).
//!
//! Each side starts by its own rule, but not independently: the name that the client asks for is
//! what the server's certificate is verified for, and that certificate is what the client is shown
//! a leaf in place of. So the client's hello is read first, where it comes in time, then TLS towards
//! the server is established, and only then the client is answered.
//!
//! Not here: the greeting that has to wait for it (see `greeting`), what is agreed about data
//! connections, and CCC (see `protection`).

mod progress;

pub(super) use progress::{ClientTls, ServerTls, Termination};

use super::own_command::OwnCommand;
use super::pending::Pending;
use super::security::{Mechanism, Request};
use super::{Action, Certificate, Phase, Session, TlsMode, TlsStart, replies};
use crate::ftp::{Code, Command};
use crate::report::{CloseCause, ControlProtection, Refusal, Report, TlsFault};
use crate::terms::{ProtectionLevel, Side};
use bytes::Bytes;
use std::time::Instant;

/// Verbs that nobody knows, before the login, until the peer is taken for something else than an
/// FTP client (case 29).
const MOST_UNKNOWN: u8 = 4;

impl Session {
    /// True if TLS of this side ends at the gateway.
    pub(super) fn terminates(&self, side: Side) -> bool {
        let mode = self.settings.tls;
        let ends = match side {
            Side::Client => matches!(mode, TlsMode::Intercept | TlsMode::Offload),
            Side::Server => matches!(mode, TlsMode::Intercept | TlsMode::Originate),
        };
        ends && !self.termination.bypassed
    }

    pub(super) fn terminates_any(&self) -> bool {
        self.terminates(Side::Client) || self.terminates(Side::Server)
    }

    /// True if TLS towards the server begins without a word of the client's.
    pub(super) fn secures_server_unasked(&self) -> bool {
        let by_client = self.settings.server_start == TlsStart::Explicit
            && self.settings.client_start == TlsStart::Explicit
            && self.terminates(Side::Client);
        self.terminates(Side::Server) && !by_client
    }

    /// True if TLS towards the client, if any, begins when it asks for it.
    pub(super) fn client_asks(&self) -> bool {
        !self.terminates(Side::Client) || self.settings.client_start == TlsStart::Explicit
    }

    /// True if the client's hello comes before TLS towards the server has to begin.
    fn hello_comes_first(&self) -> bool {
        self.terminates(Side::Client)
            && match self.settings.client_start {
                TlsStart::Implicit => true,
                TlsStart::ImplicitAfterGreeting => self.settings.server_start != TlsStart::Implicit,
                TlsStart::Explicit => !self.secures_server_unasked(),
            }
    }

    /// True if the server is on the list of those whose sessions are carried unread, by its address
    /// or by the name that the client asks for.
    pub(super) fn is_listed(&self, name: Option<&str>) -> bool {
        let Some(ends) = &self.ends else { return false };
        self.settings.tls == TlsMode::Intercept
            && self.settings.bypass.iter().any(|entry| entry.matches(ends.server(), name))
    }

    /// The session is not read after all: its server, or the name asked for, is on the list.
    pub(super) fn bypass(&mut self) {
        self.termination.bypassed = true;
    }

    /// Both control connections stand: what begins with the first byte begins.
    pub(super) fn begin_termination(&mut self, now: Instant) {
        if self.terminates(Side::Client) && self.settings.client_start == TlsStart::Implicit {
            self.await_hello(now);
        }
        if self.terminates(Side::Server) && self.settings.server_start == TlsStart::Implicit {
            self.termination.server = ServerTls::Agreed;
            self.secured_since = now;
        }
        self.advance(now);
    }

    /// TLS of the client follows. What it has said ahead was in the clear (case 25).
    pub(super) fn await_hello(&mut self, now: Instant) {
        if self.client_reader.buffered() > 0 {
            return self.close(None, CloseCause::PlaintextInHandshake, now);
        }
        self.termination.client = ClientTls::Hello;
        self.secured_since = now;
        self.actions.push_back(Action::AcceptTls);
    }

    /// True while what the client sends belongs to a handshake that is not due yet: nothing of it is
    /// read before, or it would be taken for text.
    pub(super) fn client_is_early(&self) -> bool {
        self.terminates(Side::Client)
            && self.settings.client_start != TlsStart::Explicit
            && self.termination.client == ClientTls::None
    }

    /// True while a server that has TLS is waited for, to greet or to shake hands.
    pub(super) fn awaits_tls(&self) -> bool {
        let ungreeted = self.terminates(Side::Server) && !self.termination.greeted;
        self.termination.is_negotiating() || ungreeted
    }

    /// Does what can be done now towards TLS on both sides.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.phase != Phase::Open {
            return;
        }
        self.advance_server(now);
        let waits = self.termination.client == ClientTls::Waiting;
        if waits && self.termination.refusal.is_some() {
            self.present(Certificate::Refusal);
        } else if waits && !self.terminates(Side::Server) {
            self.present(Certificate::Own);
        } else if waits
            && matches!(self.termination.server, ServerTls::Secured | ServerTls::Cleared)
        {
            self.present(Certificate::Mirrored { trusted: self.termination.trusted });
        }
        self.deliver_greeting(now);
    }

    fn advance_server(&mut self, now: Instant) {
        let greeted = self.termination.greeted && self.termination.refusal.is_none();
        if self.termination.server == ServerTls::None && self.secures_server_unasked() && greeted {
            self.secured_since = now;
            match self.settings.server_start {
                TlsStart::Explicit => {
                    self.termination.server = ServerTls::Asked;
                    self.send_own(OwnCommand::Auth);
                }
                // Behind the greeting the server waits for a hello (case 26).
                _ if self.server_reader.buffered() > 0 => {
                    return self.close(
                        Some(replies::SERVER_FAULT),
                        CloseCause::PlaintextInHandshake,
                        now,
                    );
                }
                TlsStart::Implicit | TlsStart::ImplicitAfterGreeting => {
                    self.termination.server = ServerTls::Agreed;
                }
            }
        }
        let hello_is_due =
            self.hello_comes_first() && self.termination.client != ClientTls::Waiting;
        if self.termination.server == ServerTls::Agreed && !hello_is_due {
            self.termination.server = ServerTls::Handshake;
            self.actions.push_back(Action::ConnectTls);
        }
    }

    fn present(&mut self, certificate: Certificate) {
        self.termination.client = ClientTls::Handshake;
        self.actions.push_back(Action::PresentCertificate(certificate));
    }

    /// Ends the session with `words`, which a client in its handshake hears when that is done, and a
    /// client in the midst of a reply not at all.
    pub(super) fn end_with(&mut self, words: Bytes, cause: CloseCause, now: Instant) {
        if self.termination.client_negotiates() {
            self.termination.refusal = Some((words, cause));
            return self.advance(now);
        }
        if !self.is_amid_reply() {
            self.send(Side::Client, words);
        }
        self.close(None, cause, now);
    }

    /// True while the client is not to be read, as TLS or the greeting comes first.
    pub(super) fn termination_holds_client(&self) -> bool {
        self.termination.is_negotiating() || self.termination.keeps_greeting()
    }

    /// True while the server's lines have to wait for the client's handshake.
    pub(super) fn termination_holds_server(&self) -> bool {
        let due = matches!(
            self.pending.front(),
            Some(Pending::Greeting | Pending::OwnCommand(OwnCommand::Auth))
        );
        self.termination.client_negotiates() && !due
    }

    /// AUTH of a client whose TLS ends here.
    pub(super) fn on_terminated_auth(&mut self, command: &Command, now: Instant) {
        match self.termination.client {
            ClientTls::None => {}
            ClientTls::Cleared => return self.answer(replies::AUTH_AFTER_CCC),
            _ => return self.answer(replies::SECURED_ALREADY),
        }
        let Some(request @ Request::Auth(Mechanism::Tls(level))) = Request::of(command) else {
            return self.refuse_with(command, Refusal::AuthRefused, replies::ONLY_TLS);
        };
        if self.client_reader.buffered() > 0 {
            return self.close(Some(replies::BEHIND_AUTH), CloseCause::PlaintextInHandshake, now);
        }
        if self.terminates(Side::Server) && self.termination.server == ServerTls::None {
            return self.forward(command, Pending::Security(request));
        }
        if !self.pending.is_empty() {
            // Its answer would come out of turn, and TLS with it: a client that pipelines AUTH
            // sends it again.
            return self.answer(replies::AUTH_OUT_OF_TURN);
        }
        self.send(Side::Client, Bytes::from_static(replies::AUTH_ACCEPTED.as_bytes()));
        self.accept_auth(level, now);
    }

    /// The server has agreed to the client's AUTH: bytes behind it on either side are somebody's who
    /// wants them taken for what was sent inside TLS (CVE-2011-0411, case 25).
    pub(super) fn on_auth_accepted(&mut self, level: ProtectionLevel, raw: Bytes, now: Instant) {
        // The 234 is not sent, so that the client still reads text.
        if self.client_reader.buffered() > 0 {
            return self.close(Some(replies::BEHIND_AUTH), CloseCause::PlaintextInHandshake, now);
        }
        if self.server_reader.buffered() > 0 {
            return self.close(Some(replies::SERVER_FAULT), CloseCause::PlaintextInHandshake, now);
        }
        self.send(Side::Client, raw);
        self.termination.server = ServerTls::Agreed;
        self.accept_auth(level, now);
    }

    fn accept_auth(&mut self, level: ProtectionLevel, now: Instant) {
        self.withdraw_offered();
        self.protection.begin(level);
        self.await_hello(now);
    }

    /// The answer to an AUTH of the gateway's own.
    pub(super) fn on_own_auth_reply(&mut self, code: Code, now: Instant) {
        if code.value() != 234 {
            self.termination.server = ServerTls::None;
            return self.fail_server_tls(None, now);
        }
        if self.server_reader.buffered() > 0 {
            return self.close(Some(replies::SERVER_FAULT), CloseCause::PlaintextInHandshake, now);
        }
        self.termination.server = ServerTls::Agreed;
        self.advance(now);
    }

    /// True if these bytes stand where the server has to wait for the gateway's hello (case 26).
    pub(super) fn is_injected(&self, from: Side) -> bool {
        from == Side::Server
            && matches!(self.termination.server, ServerTls::Agreed | ServerTls::Handshake)
    }

    pub(super) fn on_hello(&mut self, name: Option<&str>, now: Instant) {
        if self.termination.client != ClientTls::Hello {
            return;
        }
        self.note_name(name);
        if name.is_some() && self.is_listed(name) && self.can_be_carried() {
            self.bypass();
            self.termination.client = ClientTls::None;
            self.termination.server = ServerTls::None;
            self.begin_tls(None, now);
            self.actions.push_back(Action::CarryTls);
            return;
        }
        self.termination.client = ClientTls::Waiting;
        self.advance(now);
    }

    /// True if the server awaits just the hello that the client has sent.
    fn can_be_carried(&self) -> bool {
        self.termination.server == ServerTls::Agreed && self.termination.refusal.is_none()
    }

    pub(super) fn on_tls_established(&mut self, side: Side, trusted: bool, now: Instant) {
        if self.security.control() != ControlProtection::Terminated {
            self.security.terminate();
            self.report(Report::ProtectionChanged { state: ControlProtection::Terminated });
        }
        match side {
            Side::Server => {
                self.termination.server = ServerTls::Secured;
                self.termination.trusted = trusted;
            }
            Side::Client => {
                self.termination.client = ClientTls::Secured;
                // What comes first inside TLS may be another protocol as well (case 29).
                self.first_line_seen = false;
                self.await_first_line(now);
                if let Some((words, cause)) = self.termination.refusal.take() {
                    self.send(Side::Client, words);
                    return self.close(None, cause, now);
                }
            }
        }
        self.advance(now);
    }

    pub(super) fn on_tls_failed(&mut self, side: Side, fault: TlsFault, now: Instant) {
        match side {
            Side::Client => self.close(None, CloseCause::ClientTlsFailed, now),
            // What was said inside is not taken back; nothing more comes.
            Side::Server if self.termination.server == ServerTls::Secured => {
                self.tell_failed_transfer();
                if self.termination.client_negotiates() {
                    return self.fail_server_tls(Some(fault), now);
                }
                self.close(Some(replies::SERVER_FAULT), CloseCause::ServerTlsFailed, now);
            }
            Side::Server => {
                self.termination.server = ServerTls::None;
                self.fail_server_tls(Some(fault), now);
            }
        }
    }

    /// There is no TLS towards the server, and nothing goes there without. `None`: it offers none.
    fn fail_server_tls(&mut self, fault: Option<TlsFault>, now: Instant) {
        let words = replies::no_server_tls(fault);
        self.end_with(Bytes::from_static(words.as_bytes()), CloseCause::ServerTlsFailed, now);
    }

    /// Counts a verb that nobody knows. False if there have been too many.
    pub(super) fn forgives_unknown_verb(&mut self) -> bool {
        if self.logged_in || !self.terminates_any() {
            return true;
        }
        self.termination.unknown_verbs = self.termination.unknown_verbs.saturating_add(1);
        self.termination.unknown_verbs < MOST_UNKNOWN
    }
}
