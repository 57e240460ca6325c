//! What data connections are given: no more than the server has agreed to, and what the client has
//! asked for.

use super::super::super::lines;
use super::super::stage::index;
use super::{EndedTls, Tls};
use ftpgate::ftp::{Command, Verb};
use ftpgate::session::TransferPlan;
use ftpgate::terms::{DataPath, ProtectionLevel, Side};

impl EndedTls {
    pub(super) fn on_plan(&self, plan: &TransferPlan, said: &[Vec<u8>; 2]) {
        let secured = |tls| matches!(tls, Tls::Secured | Tls::Cleared);
        let levels = if secured(self.client) { self.asked_levels(said) } else { vec![] };
        let clear = levels.is_empty() && plan.client_protection == ProtectionLevel::Clear;
        assert!(clear || levels.contains(&plan.client_protection), "{plan:?}, not {levels:?}");
        if plan.server_protection != ProtectionLevel::Clear {
            assert!(secured(self.server) && plan.is_protected(Side::Server), "{plan:?}");
            let at = self.prot_at.expect("the server was not asked for PROT");
            assert!(self.has_agreed(at, said), "PROT P was not agreed to");
        }
        let clear = !plan.is_protected(Side::Client) && !plan.is_protected(Side::Server);
        assert!(clear || plan.path == DataPath::Relay, "{plan:?}");
    }

    /// True if the server has said yes inside TLS, since it was asked if it answers in order.
    pub(super) fn has_agreed(&self, asked_at: usize, said: &[Vec<u8>; 2]) -> bool {
        let mark = self.mark(Side::Server).unwrap_or_default();
        let from = if self.tidy { asked_at } else { mark };
        has_positive(&said[index(Side::Server)][from..])
    }

    /// What the client has asked for and was granted, and what it may be granted when its turn comes.
    fn asked_levels(&self, said: &[Vec<u8>; 2]) -> Vec<ProtectionLevel> {
        let mark = self.mark(Side::Client).unwrap_or_default();
        let (before, inside) = said[index(Side::Client)].split_at(mark);
        let of = |text: &[u8], verb| {
            let commands = lines(text).into_iter().map(Command::parse);
            commands.filter(move |command| command.verb() == verb)
        };
        let auth = of(before, Verb::Auth).last();
        let private = auth.is_some_and(|auth| {
            let mechanism = auth.argument().to_ascii_uppercase();
            mechanism == b"TLS-P" || mechanism.starts_with(b"SSL")
        });
        let first = if private { ProtectionLevel::Private } else { ProtectionLevel::Clear };
        let mut levels = vec![first];
        for (at, prot) in of(inside, Verb::Prot).enumerate() {
            let level = match prot.argument() {
                b"P" | b"p" => Some(ProtectionLevel::Private),
                b"C" | b"c" => Some(ProtectionLevel::Clear),
                _ => None,
            };
            match (self.prot_answers.get(at), level) {
                (Some(false), _) | (None, None) => {}
                (Some(true), level) => levels = vec![level.expect("no level to accept")],
                (None, Some(level)) => levels.push(level),
            }
        }
        levels
    }
}

/// True if a line of it begins as a reply does that says yes.
fn has_positive(said: &[u8]) -> bool {
    said.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"2"))
}
