//! The reply to FEAT (RFC 2389): what the server offers and the gateway, or the owner, does not let
//! pass is taken out of it, and what the gateway offers in the server's place is put in.
//!
//! Not here: which words of a line are features (see [`crate::ftp::Features`]). The reply to HELP and
//! `SITE HELP` is prose, and left alone.

use super::{Session, TlsMode, TlsStart};
use crate::ftp::{self, Code, Features};
use crate::report::{Report, RewrittenLine};
use crate::terms::Side;
use bytes::Bytes;

impl Session {
    /// What of protection a server may offer in its reply to FEAT.
    pub(super) fn features(&self) -> Features {
        let asks_server = self.terminates(Side::Server)
            && self.settings.client_start == TlsStart::Explicit
            && self.settings.server_start == TlsStart::Explicit;
        match self.settings.tls {
            TlsMode::Refuse | TlsMode::Originate => Features::Clear,
            TlsMode::Intercept | TlsMode::Offload if !self.terminates(Side::Client) => {
                Features::EndToEnd
            }
            TlsMode::Intercept if asks_server => Features::ServersTls,
            TlsMode::Intercept | TlsMode::Offload => Features::OwnTls,
            TlsMode::Passthrough => Features::EndToEnd,
        }
    }

    /// True if a line of the server's reply may stand.
    pub(super) fn offers(&self, line: &[u8]) -> bool {
        ftp::is_offered(line, self.features()) && self.policy_offers(line)
    }

    /// True unless the line is about a command that the owner's rules refuse in any case.
    fn policy_offers(&self, line: &[u8]) -> bool {
        let mut commands = ftp::offered_commands(line);
        !commands.any(|(verb, argument)| self.never_allows(verb, argument))
    }

    /// The last line of the reply to FEAT, behind what the gateway offers in the server's place. A
    /// server that knows no FEAT has nothing to say beside it.
    pub(super) fn end_features(&mut self, code: Code, raw: Bytes) {
        self.report(Report::LineRewritten { line: RewrittenLine::Feat });
        let own = ftp::OWN_FEATURES.split_inclusive(|byte| *byte == b'\n');
        let own: Vec<_> = own.filter(|line| self.policy_offers(line.trim_ascii_end())).collect();
        let own = Bytes::from(own.concat());
        if code.is_positive() && self.reply_bytes > raw.len() {
            self.send(Side::Client, own);
            return self.send(Side::Client, raw);
        }
        self.send(Side::Client, Bytes::from_static(b"211-Features:\r\n"));
        self.send(Side::Client, own);
        self.send(Side::Client, Bytes::from_static(b"211 End\r\n"));
    }
}
