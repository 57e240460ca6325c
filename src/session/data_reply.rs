//! What the server's reply to PORT, EPRT, PASV or EPSV leads to, and what either side is told once
//! the pinhole is open.

use super::negotiation::{self, Negotiation, Opened};
use super::pending::Pending;
use super::{Session, replies};
use crate::addr::{Advertised, Observed};
use crate::ftp::{self, Code, Verb};
use crate::policy::Verdict;
use crate::report::{Refusal, Report, RewrittenLine};
use crate::terms::{DataMode, Side};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

impl Session {
    /// The server's final reply to PASV, EPSV, PORT or EPRT.
    pub(super) fn on_data_reply(&mut self, code: Code, negotiation: Negotiation, now: Instant) {
        match negotiation::mode_of(negotiation.server_verb) {
            DataMode::Passive => self.on_passive_reply(code, negotiation, now),
            DataMode::Active => self.on_active_reply(code, &negotiation),
        }
    }

    fn on_passive_reply(&mut self, code: Code, negotiation: Negotiation, now: Instant) {
        let Some(ends) = self.ends else { return };
        let expected =
            if negotiation::answered_by_227(negotiation.server_verb) { 227 } else { 229 };
        if code.value() != expected {
            self.pass_refusal(&negotiation, DataMode::Passive);
            return;
        }
        let port = match self.server_listens(&negotiation) {
            Ok(port) => port,
            Err(reason) => return self.fail_negotiation(&negotiation, reason),
        };
        let server = ends.dial_server(port);
        let client = match negotiation.client_listens {
            Some(address) => ends.dial_client(address),
            // Where the client dials the server's own address it must find the server's own port.
            None => ends.await_client(Some(port)),
        };
        self.open(negotiation, client, server, now);
    }

    /// The port that the server listens on: the last line that bears an address counts (case 16). A
    /// client may take it from any other as well, and is told the same in each of them.
    fn server_listens(&self, negotiation: &Negotiation) -> Result<u16, Refusal> {
        let Some(ends) = self.ends else { return Err(Refusal::MalformedReply) };
        let mut found: Option<Advertised> = None;
        for (line, bears_code) in lines_of(&negotiation.reply) {
            found = Some(if negotiation::answered_by_227(negotiation.server_verb) {
                match ftp::parse_227(line) {
                    Ok(reply) => Advertised(SocketAddr::V4(reply.address)),
                    Err(_) if bears_code && lists_numbers(line) => {
                        return Err(Refusal::MalformedReply);
                    }
                    Err(_) => continue,
                }
            } else {
                let Ok(reply) = ftp::parse_229(line) else { continue };
                Advertised(SocketAddr::new(ends.server(), reply.port))
            });
        }
        let advertised = found.ok_or(Refusal::MalformedReply)?;
        match self.settings.policy.may_connect_to(advertised, Observed(ends.server())) {
            Verdict::Allow => Ok(advertised.0.port()),
            Verdict::Refuse(reason) => Err(reason),
        }
    }

    fn on_active_reply(&mut self, code: Code, negotiation: &Negotiation) {
        let Some(Opened { client_entry, .. }) = negotiation.opened else {
            // It expired while the server was thinking.
            return self.fail_negotiation(negotiation, Refusal::PinholeFailed);
        };
        if !code.is_positive() {
            self.withdraw_offered();
            self.pass_refusal(negotiation, DataMode::Active);
        } else if negotiation.reply_passes() {
            self.send(Side::Client, negotiation.whole_reply());
        } else {
            let external = client_entry.map(|entry| self.external(Side::Client, entry));
            self.send_own_reply(negotiation, external);
        }
    }

    /// The server is told where to connect; the client is answered when it has agreed.
    pub(super) fn tell_server(&mut self, negotiation: Negotiation, entry: SocketAddr) {
        let external = self.external(Side::Server, entry);
        let line = negotiation::active_line(&negotiation, external);
        if negotiation.reply_passes() && line != *negotiation.command.line().raw() {
            let verb = negotiation.command.verb();
            let line = if verb == Verb::Port { RewrittenLine::Port } else { RewrittenLine::Eprt };
            self.report(Report::LineRewritten { line });
        }
        self.send(Side::Server, line);
        self.pending.push(Pending::Data(negotiation));
    }

    /// The client is told where to connect, or that it will be connected to.
    pub(super) fn tell_client(
        &mut self,
        negotiation: &Negotiation,
        client_entry: Option<SocketAddr>,
    ) {
        let external = client_entry.map(|entry| self.external(Side::Client, entry));
        match external {
            Some(external) if negotiation.reply_passes() => {
                self.send_rewritten_reply(negotiation, external);
            }
            _ => self.send_own_reply(negotiation, external),
        }
        self.flush_own_replies();
    }

    /// The server's own reply, with nothing but its address replaced (case 42).
    fn send_rewritten_reply(&mut self, negotiation: &Negotiation, external: SocketAddr) {
        let (kind, rewrite): (_, fn(&Bytes, SocketAddr) -> Bytes) =
            if negotiation::answered_by_227(negotiation.server_verb) {
                (RewrittenLine::Pasv, rewrite_227)
            } else {
                (RewrittenLine::Epsv, rewrite_229)
            };
        let before = negotiation.whole_reply();
        let lines = negotiation.reply.iter().map(|line| rewrite(line, external));
        let after: Bytes = lines.collect::<Vec<_>>().concat().into();
        if after != before {
            self.report(Report::LineRewritten { line: kind });
        }
        self.send(Side::Client, after);
    }

    fn send_own_reply(&mut self, negotiation: &Negotiation, external: Option<SocketAddr>) {
        match negotiation::own_reply(negotiation.command.verb(), external) {
            Some(reply) => self.send(Side::Client, reply),
            None => {
                self.withdraw_offered();
                self.fail_negotiation(negotiation, Refusal::NetworkProtocol);
            }
        }
    }

    /// What the far side is told: the entry itself, or the address that stands in front of it. One that
    /// is not known has been refused ahead, unless the line names none, as 229 does. A third host's is
    /// told as it is.
    fn external(&self, side: Side, entry: SocketAddr) -> SocketAddr {
        if side == Side::Server && self.ends.is_some_and(|ends| ends.seen_as() != entry.ip()) {
            return entry;
        }
        let ip = self.external_address(side, entry.ip()).unwrap_or(entry.ip());
        SocketAddr::new(ip, entry.port())
    }

    /// What the far side is told instead of the gateway's own address; `None` if that is not known.
    pub(super) fn external_address(&self, side: Side, own: IpAddr) -> Option<IpAddr> {
        let external = match side {
            Side::Client => &self.parties.external_client,
            Side::Server => &self.parties.external_server,
        };
        // A client that a balancer has introduced has dialled an address of the balancer's.
        let dialled = match (side, self.parties.introduced_at) {
            (Side::Client, Some(_)) => self.parties.original_dst.0.ip(),
            (Side::Client, None) | (Side::Server, _) => own,
        };
        external.get(own).instead_of(dialled)
    }

    /// The client's command was in order, but there will be no data connection.
    pub(super) fn fail_negotiation(&mut self, negotiation: &Negotiation, reason: Refusal) {
        // The client can do something about this one.
        let own_words = reason == Refusal::TooManyTransfers;
        let reply = if own_words { replies::refusal(reason) } else { replies::CANNOT_OPEN };
        self.refuse_with(&negotiation.command, reason, reply);
    }

    /// The server refused: its words pass, unless they would answer another question.
    fn pass_refusal(&mut self, negotiation: &Negotiation, asked: DataMode) {
        if negotiation.reply_passes() {
            self.send(Side::Client, negotiation.whole_reply());
        } else {
            self.send(
                Side::Client,
                Bytes::from_static(replies::refused_by_server(asked).as_bytes()),
            );
        }
    }
}

/// The lines of a reply without their terminators, and whether each bears the reply's code: the
/// first and the last one do.
fn lines_of(reply: &[Bytes]) -> impl Iterator<Item = (&[u8], bool)> {
    let last = reply.len().saturating_sub(1);
    reply.iter().enumerate().map(move |(at, line)| (line.trim_ascii_end(), at == 0 || at == last))
}

/// True if numbers joined by a comma stand in the line, as an address has them.
fn lists_numbers(line: &[u8]) -> bool {
    line.windows(3).any(|w| matches!(w, [a, b',', b] if a.is_ascii_digit() && b.is_ascii_digit()))
}

fn rewrite_227(line: &Bytes, external: SocketAddr) -> Bytes {
    match (ftp::parse_227(line.trim_ascii_end()), external) {
        (Ok(reply), SocketAddr::V4(external)) if reply.address != external => {
            ftp::splice(line, reply.span, ftp::format_port(external).as_bytes())
        }
        _ => line.clone(),
    }
}

/// Only the port is replaced, unless the server filled in its address where RFC 2428 §3 wants none.
fn rewrite_229(line: &Bytes, external: SocketAddr) -> Bytes {
    let Ok(reply) = ftp::parse_229(line.trim_ascii_end()) else { return line.clone() };
    let port = external.port();
    if !reply.blank {
        let d = char::from(reply.delimiter);
        return ftp::splice(line, reply.span, format!("{d}{d}{d}{port}{d}").as_bytes());
    }
    if reply.port == port {
        return line.clone();
    }
    ftp::splice(line, reply.port_span, port.to_string().as_bytes())
}
