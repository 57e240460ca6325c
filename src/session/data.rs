//! Data connections: negotiated on both sides, opened, used, ended.

use super::action::{Action, Leg, TransferPlan};
use super::negotiation::{self, Negotiation, Opened};
use super::pending::Pending;
use super::transfer::{ClosedPinhole, Stage, Transfer};
use super::{ModeChoice, Phase, Session, replies};
use crate::addr::{Advertised, Observed};
use crate::ftp::{self, Code, Command, EprtError, EpsvArgument, Verb};
use crate::pinhole::{Expectation, Pinhole};
use crate::policy::Verdict;
use crate::report::{DataOutcome, PinholeOutcome, Refusal, Report, RewrittenLine};
use crate::terms::{ByteCounts, DataMode, ProtectionLevel, Side, TransferId};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

impl Session {
    /// PORT, EPRT, PASV or EPSV of a client that may negotiate.
    pub(super) fn negotiate(&mut self, command: Command, now: Instant) {
        let Some(ends) = self.ends else { return };
        let client_listens = match negotiation::mode_of(command.verb()) {
            DataMode::Passive => match self.passive_request(&command) {
                Ok(()) => None,
                Err(refusal) => return self.refuse_with(refusal.reason, refusal.reply),
            },
            DataMode::Active => match self.active_request(&command) {
                Ok(address) => Some(address),
                Err(refusal) => return self.refuse_with(refusal.reason, refusal.reply),
            },
        };
        // The newest negotiation wins, whatever becomes of it (case 12).
        self.withdraw_offered();
        let server_mode = match self.settings.mode {
            ModeChoice::Keep => negotiation::mode_of(command.verb()),
            ModeChoice::Passive => DataMode::Passive,
            ModeChoice::Active => DataMode::Active,
        };
        let server_verb = negotiation::server_verb(
            command.verb(),
            server_mode,
            ends.same_family(),
            ends.server().is_ipv4(),
        );
        let negotiation = Negotiation::new(command, client_listens, server_verb);
        match server_mode {
            DataMode::Passive => self.ask_server_to_listen(negotiation),
            DataMode::Active => {
                let client = match client_listens {
                    Some(address) => ends.dial_client(address.port()),
                    None => ends.await_client(None),
                };
                let server = ends.await_server(client_listens.map(|address| address.port()));
                self.open(negotiation, client, server, now);
            }
        }
    }

    /// The address that PORT or EPRT names, if it may be used.
    fn active_request(&self, command: &Command) -> Result<SocketAddr, Refused> {
        let malformed = Refused::with(Refusal::MalformedArgument);
        let client = Observed::of(self.parties.client);
        let address = if command.verb() == Verb::Port {
            let address = ftp::parse_port(command.argument()).map_err(|_| malformed)?;
            SocketAddr::V4(address)
        } else {
            match ftp::parse_eprt(command.argument()) {
                Ok(eprt) => crate::addr::canonical(eprt.address),
                Err(EprtError::Malformed) => return Err(malformed),
                Err(EprtError::UnknownProtocol) => {
                    return Err(Refused {
                        reason: Refusal::NetworkProtocol,
                        reply: replies::UNKNOWN_PROTOCOL,
                    });
                }
            }
        };
        if address.is_ipv4() != client.0.is_ipv4() && command.verb() == Verb::Eprt {
            return Err(Refused::network_protocol(client.0));
        }
        match self.settings.policy.may_listen_at(Advertised(address), client) {
            Verdict::Allow => Ok(address),
            Verdict::Refuse(reason) => Err(Refused::with(reason)),
        }
    }

    /// PASV cannot answer a client on IPv6; EPSV may ask for the family in use, or for none.
    fn passive_request(&self, command: &Command) -> Result<(), Refused> {
        let client = self.parties.client.ip().to_canonical();
        if command.verb() == Verb::Pasv {
            return if client.is_ipv4() {
                Ok(())
            } else {
                Err(Refused::with(Refusal::NetworkProtocol))
            };
        }
        match ftp::parse_epsv(command.argument()) {
            EpsvArgument::None | EpsvArgument::All => Ok(()),
            EpsvArgument::Ipv4 if client.is_ipv4() => Ok(()),
            EpsvArgument::Ipv6 if client.is_ipv6() => Ok(()),
            EpsvArgument::Ipv4 | EpsvArgument::Ipv6 => Err(Refused::network_protocol(client)),
            EpsvArgument::Unknown => {
                Err(Refused { reason: Refusal::NetworkProtocol, reply: replies::UNKNOWN_PROTOCOL })
            }
        }
    }

    fn ask_server_to_listen(&mut self, negotiation: Negotiation) {
        let line = if negotiation.reply_passes() {
            negotiation.command.line().raw().clone()
        } else if negotiation.server_verb == Verb::Pasv {
            Bytes::from_static(b"PASV\r\n")
        } else {
            Bytes::from_static(b"EPSV\r\n")
        };
        self.send(Side::Server, line);
        self.pending.push(Pending::Data(negotiation));
    }

    /// The server's final reply to PASV, EPSV, PORT or EPRT.
    pub(super) fn on_data_reply(&mut self, code: Code, negotiation: Negotiation, now: Instant) {
        match negotiation::mode_of(negotiation.server_verb) {
            DataMode::Passive => self.on_passive_reply(code, negotiation, now),
            DataMode::Active => self.on_active_reply(code, &negotiation),
        }
    }

    fn on_passive_reply(&mut self, code: Code, negotiation: Negotiation, now: Instant) {
        let Some(ends) = self.ends else { return };
        let expected = if negotiation.server_verb == Verb::Pasv { 227 } else { 229 };
        if code.value() != expected {
            self.pass_refusal(&negotiation, DataMode::Passive);
            return;
        }
        let port = match self.server_listens(&negotiation) {
            Ok(port) => port,
            Err(reason) => return self.fail_negotiation(reason),
        };
        let server = ends.dial_server(port);
        let client = match negotiation.client_listens {
            Some(address) => ends.dial_client(address.port()),
            // Where the client dials the server's own address it must find the server's own port.
            None => ends.await_client(Some(port)),
        };
        self.open(negotiation, client, server, now);
    }

    /// The port that the server listens on, from the lines that bear its code: they must agree
    /// (case 16).
    fn server_listens(&self, negotiation: &Negotiation) -> Result<u16, Refusal> {
        let Some(ends) = self.ends else { return Err(Refusal::MalformedReply) };
        let mut found: Option<Advertised> = None;
        for line in coded_lines(&negotiation.reply) {
            let advertised = if negotiation.server_verb == Verb::Pasv {
                ftp::parse_227(line).map(|reply| Advertised(SocketAddr::V4(reply.address)))
            } else {
                let here = |port| Advertised(SocketAddr::new(ends.server(), port));
                ftp::parse_229(line).map(|reply| here(reply.port))
            };
            let Ok(advertised) = advertised else { continue };
            if found.is_some_and(|earlier| earlier != advertised) {
                return Err(Refusal::MalformedReply);
            }
            found = Some(advertised);
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
            return self.fail_negotiation(Refusal::PinholeFailed);
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

    /// Asks the executor to open what the two legs await. Everything else of this session waits.
    fn open(&mut self, negotiation: Negotiation, client: Leg, server: Leg, now: Instant) {
        let Some(ends) = self.ends else { return };
        let Some(path) = ends.path(&self.settings, &client, &server) else {
            return self.fail_negotiation(Refusal::PinholeFailed);
        };
        let plan = TransferPlan { id: self.next_transfer_id(), path, client, server };
        self.transfers.push(Transfer::new(plan, now));
        self.opening = Some(negotiation);
        self.actions.push_back(Action::OpenTransfer(plan));
    }

    /// True while the executor opens a transfer: nothing else is read meanwhile.
    pub(super) fn is_opening(&self) -> bool {
        self.opening.is_some()
    }

    pub(super) fn on_transfer_opened(
        &mut self,
        id: TransferId,
        client_entry: Option<SocketAddr>,
        server_entry: Option<SocketAddr>,
        now: Instant,
    ) {
        let until = now + self.settings.open_timeout;
        let Some(transfer) = self.transfers.iter_mut().find(|transfer| transfer.id() == id) else {
            return;
        };
        let Stage::Opening { since } = transfer.stage else { return };
        transfer.offer(until);
        let plan = transfer.plan;
        let elapsed = now.saturating_duration_since(since);
        for (side, entry) in [(Side::Client, client_entry), (Side::Server, server_entry)] {
            if let (Leg::Await(Expectation { peer, .. }), Some(entry)) = (plan.leg(side), entry) {
                self.report(Report::PinholeOpened {
                    transfer: id,
                    path: plan.path,
                    mode: plan.mode(side),
                    pinhole: Pinhole { peer: *peer, entry },
                    elapsed,
                });
            }
        }
        let Some(mut negotiation) = self.opening.take() else { return };
        if self.phase == Phase::Closed {
            self.withdraw_offered();
            return;
        }
        match server_entry {
            Some(entry) => {
                negotiation.opened = Some(Opened { id, client_entry });
                self.tell_server(negotiation, entry);
            }
            None => self.tell_client(&negotiation, client_entry),
        }
    }

    /// The server is told where to connect; the client is answered when it has agreed.
    fn tell_server(&mut self, negotiation: Negotiation, entry: SocketAddr) {
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
    fn tell_client(&mut self, negotiation: &Negotiation, client_entry: Option<SocketAddr>) {
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
            if negotiation.server_verb == Verb::Pasv {
                (RewrittenLine::Pasv, rewrite_227)
            } else {
                (RewrittenLine::Epsv, rewrite_229)
            };
        let before = negotiation.whole_reply();
        let last = negotiation.reply.len().saturating_sub(1);
        let lines = negotiation.reply.iter().enumerate().map(|(at, line)| {
            if at == 0 || at == last { rewrite(line, external) } else { line.clone() }
        });
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
                self.fail_negotiation(Refusal::NetworkProtocol);
            }
        }
    }

    /// What the far side is told: the entry itself, or the address that stands in front of it.
    fn external(&self, side: Side, entry: SocketAddr) -> SocketAddr {
        let advertise = match side {
            Side::Client => self.settings.advertise_client,
            Side::Server => self.settings.advertise_server,
        };
        advertise.map_or(entry, |ip| SocketAddr::new(ip, entry.port()))
    }

    pub(super) fn on_transfer_failed(&mut self, id: TransferId) {
        let Some(at) = self.transfers.iter().position(|transfer| transfer.id() == id) else {
            return;
        };
        let transfer = self.transfers.swap_remove(at);
        let mode = transfer.client_mode();
        let (path, outcome) = (transfer.path(), PinholeOutcome::Failed);
        self.report(Report::PinholeClosed { transfer: id, path, mode, outcome });
        if self.opening.take().is_some() && self.phase == Phase::Text {
            self.fail_negotiation(Refusal::PinholeFailed);
        }
    }

    /// The client's command was in order, but there will be no data connection.
    fn fail_negotiation(&mut self, reason: Refusal) {
        self.refuse_with(reason, replies::CANNOT_OPEN);
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

    /// A transfer command is on its way: a server that listens wants to be dialled before it says
    /// 1xx. Only where both legs dial; else the connection that comes in sets the other leg going.
    pub(super) fn dial_waiting_server(&mut self) {
        let Some(transfer) = self.offered_mut().filter(|transfer| transfer.dials_both()) else {
            return;
        };
        let id = transfer.id();
        self.actions.push_back(Action::DialData { id, side: Side::Server });
    }

    /// The server has begun: now the client in active mode may be dialled as well.
    pub(super) fn on_transfer_begun(&mut self, now: Instant) {
        let Some(transfer) = self.offered_mut().filter(|transfer| transfer.dials_both()) else {
            return;
        };
        let id = transfer.id();
        self.actions.push_back(Action::DialData { id, side: Side::Client });
        self.start(id, now);
    }

    /// The server refused the transfer command. Where both legs dial, its listener has been dialled
    /// and is spent; a pinhole that awaits a connection stays for the client's next attempt.
    pub(super) fn on_transfer_refused(&mut self) {
        if self.offered_mut().is_some_and(|transfer| transfer.dials_both()) {
            self.withdraw_offered();
        }
    }

    pub(super) fn on_pinhole_used(&mut self, id: TransferId, side: Side, now: Instant) {
        self.last_activity = now;
        let Some(transfer) = self.transfers.iter_mut().find(|transfer| transfer.id() == id) else {
            return;
        };
        let Some(closed) = transfer.use_pinhole(side) else { return };
        let complete = transfer.is_complete();
        let path = transfer.path();
        self.report_closed(id, path, closed);
        if complete {
            self.start(id, now);
        }
    }

    fn start(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.iter_mut().find(|transfer| transfer.id() == id) else {
            return;
        };
        transfer.stage = Stage::Running { since: now };
        let (path, mode) = (transfer.path(), transfer.client_mode());
        self.report(Report::DataConnectionStarted { transfer: id, path, mode });
    }

    pub(super) fn on_data_ended(
        &mut self,
        id: TransferId,
        outcome: DataOutcome,
        bytes: Option<ByteCounts>,
        now: Instant,
    ) {
        self.last_activity = now;
        let Some(at) = self.transfers.iter().position(|transfer| transfer.id() == id) else {
            return;
        };
        let mut transfer = self.transfers.swap_remove(at);
        let (path, mode) = (transfer.path(), transfer.client_mode());
        for closed in transfer.close_pinholes(PinholeOutcome::Withdrawn) {
            self.report_closed(id, path, closed);
        }
        let Stage::Running { since } = transfer.stage else { return };
        self.report(Report::DataConnectionEnded {
            transfer: id,
            path,
            mode,
            protection: ProtectionLevel::Clear,
            outcome,
            bytes,
            duration: now.saturating_duration_since(since),
        });
    }

    /// Closes what was offered and has not been used. A running transfer is left alone.
    pub(super) fn withdraw_offered(&mut self) {
        self.close_offered(PinholeOutcome::Withdrawn, |_| true);
    }

    /// Closes what nobody came for in time.
    pub(super) fn expire_transfers(&mut self, now: Instant) {
        self.close_offered(PinholeOutcome::Expired, |until| until <= now);
    }

    fn close_offered(&mut self, outcome: PinholeOutcome, when: impl Fn(Instant) -> bool) {
        let mut kept = Vec::with_capacity(self.transfers.len());
        for mut transfer in std::mem::take(&mut self.transfers) {
            if !transfer.expires_at().is_some_and(&when) {
                kept.push(transfer);
                continue;
            }
            let (id, path) = (transfer.id(), transfer.path());
            self.actions.push_back(Action::WithdrawTransfer { id });
            self.pending.forget_opened(id);
            for closed in transfer.close_pinholes(outcome) {
                self.report_closed(id, path, closed);
            }
        }
        self.transfers = kept;
    }

    fn report_closed(
        &mut self,
        transfer: TransferId,
        path: crate::terms::DataPath,
        closed: ClosedPinhole,
    ) {
        let ClosedPinhole { mode, outcome } = closed;
        self.report(Report::PinholeClosed { transfer, path, mode, outcome });
    }

    fn offered_mut(&mut self) -> Option<&mut Transfer> {
        self.transfers.iter_mut().find(|transfer| transfer.expires_at().is_some())
    }
}

/// A refusal with the words for it.
struct Refused {
    reason: Refusal,
    reply: &'static str,
}

impl Refused {
    fn with(reason: Refusal) -> Self {
        Self { reason, reply: replies::refusal(reason) }
    }

    fn network_protocol(client: IpAddr) -> Self {
        Self {
            reason: Refusal::NetworkProtocol,
            reply: replies::network_protocol(client.is_ipv4()),
        }
    }
}

/// The lines of a reply that bear its code: the first and the last one.
fn coded_lines(reply: &[Bytes]) -> impl Iterator<Item = &[u8]> {
    let first = reply.first();
    let last = if reply.len() > 1 { reply.last() } else { None };
    first.into_iter().chain(last).map(|line| line.trim_ascii_end())
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
