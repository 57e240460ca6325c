//! What PORT, EPRT, PASV or EPSV of the client leads to: a refusal, a pinhole for the server, or a
//! question to it.

use super::negotiation::{self, Negotiation};
use super::pending::Pending;
use super::{ModeChoice, Session, replies};
use crate::addr::{Advertised, Observed};
use crate::ftp::{self, Command, EprtError, EpsvArgument, Verb};
use crate::policy::Verdict;
use crate::report::Refusal;
use crate::terms::{DataMode, Side};
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
                Err(refusal) => return self.refuse_with(&command, refusal.reason, refusal.reply),
            },
            DataMode::Active => match self.active_request(&command) {
                Ok(address) => Some(address),
                Err(refusal) => return self.refuse_with(&command, refusal.reason, refusal.reply),
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
        if command.verb() == Verb::Cpsv && server_verb != Verb::Cpsv {
            // In no other words the server can be told to begin TLS.
            return self.answer(replies::NOT_IMPLEMENTED);
        }
        let tells_server = server_mode == DataMode::Active
            && self.external_address(Side::Server, ends.seen_as()).is_none();
        let tells_client = negotiation::answered_by_227(command.verb())
            && self.external_address(Side::Client, ends.dialled()).is_none();
        if tells_server || tells_client {
            let reason = Refusal::ExternalUnknown;
            return self.refuse_with(&command, reason, replies::refusal(reason));
        }
        let negotiation = Negotiation::new(command, client_listens, server_verb);
        match server_mode {
            DataMode::Passive => self.ask_server_to_listen(negotiation),
            DataMode::Active => {
                let client = match client_listens {
                    Some(address) => ends.dial_client(address),
                    None => ends.await_client(None),
                };
                let server = ends.await_server(client_listens);
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
                Err(EprtError::UnknownProtocol) => return Err(Refused::network_protocol(client.0)),
            }
        };
        // The loopback of a balancer's host, as this gateway would dial it, is the gateway's own.
        let elsewhere = self.parties.introduced_at.is_some_and(|at| !at.is_loopback());
        if elsewhere && client.0.is_loopback() {
            return Err(Refused::with(Refusal::ThirdPartyAddress));
        }
        if address.is_ipv4() != client.0.is_ipv4() && command.verb() == Verb::Eprt {
            return Err(Refused::network_protocol(client.0));
        }
        if address.ip() != client.0 && self.is_one_of_us(address.ip()) {
            return Err(Refused::with(Refusal::ThirdPartyAddress));
        }
        match self.settings.policy.may_listen_at(Advertised(address), client) {
            Verdict::Allow => Ok(address),
            Verdict::Refuse(reason) => Err(Refused::with(reason)),
        }
    }

    /// True for the addresses of this session's server and gateway as either side knows them: none of
    /// them is a third host. What else is this host's own the executor finds out.
    fn is_one_of_us(&self, address: IpAddr) -> bool {
        let Some(ends) = self.ends else { return true };
        let ours = [ends.server(), ends.dialled(), ends.seen_as()];
        let told = [(Side::Client, ends.dialled()), (Side::Server, ends.seen_as())];
        ours.contains(&address)
            || self.parties.original_dst.0.ip().to_canonical() == address
            || told.iter().any(|(side, own)| self.external_address(*side, *own) == Some(address))
    }

    /// PASV cannot answer a client on IPv6; EPSV may ask for the family in use, or for none.
    fn passive_request(&self, command: &Command) -> Result<(), Refused> {
        let client = self.parties.client.ip().to_canonical();
        if negotiation::answered_by_227(command.verb()) {
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
            EpsvArgument::Ipv4 | EpsvArgument::Ipv6 | EpsvArgument::Unknown => {
                Err(Refused::network_protocol(client))
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
