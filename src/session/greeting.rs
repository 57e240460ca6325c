//! The greeting of a server whose client is not ready for it: its TLS comes first, or that with the
//! server does (`tls.client_start`, `tls.server_start`).

use super::termination::{ClientTls, ServerTls, Termination};
use super::{Session, TlsStart, replies};
use crate::ftp::Code;
use crate::report::CloseCause;
use crate::terms::Side;
use bytes::Bytes;
use std::time::Instant;

/// The longest greeting that is kept.
const MAX_GREETING: usize = 16 * 1024;

impl Session {
    /// True if the client is not ready for the greeting, or TLS towards the server comes first.
    fn greeting_waits(&self) -> bool {
        let Termination { client, server, .. } = self.termination;
        let starts = |start| self.terminates(Side::Client) && self.settings.client_start == start;
        let for_client = starts(TlsStart::Implicit) && client != ClientTls::Secured;
        let for_server = self.secures_server_unasked()
            && server != ServerTls::Secured
            && !starts(TlsStart::ImplicitAfterGreeting);
        for_client || for_server
    }

    /// Keeps a line of a greeting that has to wait.
    pub(super) fn keep_greeting(&mut self, line: &[u8], now: Instant) -> bool {
        let waits = self.greeting_waits();
        if waits {
            self.termination.greeting.extend_from_slice(line);
            if self.termination.greeting.len() > MAX_GREETING {
                self.close(Some(replies::SERVER_FAULT), CloseCause::TooMuch, now);
            }
        }
        waits
    }

    /// The server's greeting is complete.
    pub(super) fn on_greeted(&mut self, code: Code, last: Bytes, now: Instant) {
        let keeps = self.keep_greeting(&last, now);
        if !keeps {
            self.send(Side::Client, last);
        }
        if !code.is_positive() {
            // The server goes: its words are all that there is to tell, and where TLS is due behind
            // them nothing is taken in the clear instead.
            if keeps {
                self.tell_kept_refusal(now);
            } else if self.secures_server_unasked() || !self.client_asks() {
                self.close(None, CloseCause::ServerClosed, now);
            }
            return;
        }
        self.termination.greeted = true;
        if !keeps {
            self.on_greeting_sent(now);
        }
        self.advance(now);
    }

    fn on_greeting_sent(&mut self, now: Instant) {
        if self.terminates(Side::Client)
            && self.settings.client_start == TlsStart::ImplicitAfterGreeting
        {
            self.await_hello(now);
        }
    }

    fn tell_kept_refusal(&mut self, now: Instant) {
        let words = std::mem::take(&mut self.termination.greeting).into();
        self.end_with(words, CloseCause::ServerClosed, now);
    }

    /// Sends the greeting that was kept, if nothing stands in its way any more.
    pub(super) fn deliver_greeting(&mut self, now: Instant) {
        let greeted = self.termination.greeted && !self.termination.refuses();
        if greeted && self.termination.keeps_greeting() && !self.greeting_waits() {
            let greeting = std::mem::take(&mut self.termination.greeting);
            self.send(Side::Client, greeting.into());
            self.on_greeting_sent(now);
        }
    }
}
