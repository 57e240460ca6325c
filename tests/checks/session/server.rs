//! A server that answers what it is asked, in order, and says in each reply whom it is for: the
//! client, or the gateway that has asked by itself.

use super::judge::is_telnet;
use super::script::Script;
use ftpgate::ftp::{Command, Line, Verb};
use ftpgate::session::{TlsMode, TlsStart};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Replies with these codes end, or belong to, something else than the command at hand.
const ODD: &[u16] = &[633, 421, 225];

/// What a server is asked.
pub(super) struct Server {
    address: SocketAddr,
    /// TLS with it ends at the gateway.
    ends_tls: bool,
    /// The gateway asks for TLS by itself.
    asked_for_tls: bool,
    unanswered: VecDeque<Asked>,
    asked: u32,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    number: u32,
    /// `None`: it has greeted nobody yet.
    verb: Option<Verb>,
    by_gateway: bool,
}

/// What it answers.
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    /// No plain answer to what it was asked.
    pub(super) is_odd: bool,
}

impl Server {
    pub(super) fn new(script: &Script) -> Self {
        let settings = &script.settings;
        let ends_tls = matches!(settings.tls, TlsMode::Intercept | TlsMode::Originate);
        let by_client = settings.tls == TlsMode::Intercept
            && settings.client_start == TlsStart::Explicit
            && settings.server_start == TlsStart::Explicit;
        let greeting = Asked { number: 0, verb: None, by_gateway: false };
        Self {
            address: script.server,
            ends_tls,
            asked_for_tls: ends_tls && !by_client,
            unanswered: VecDeque::from([greeting]),
            asked: 0,
        }
    }

    /// What it says by itself answers something as well, for whoever reads it.
    pub(super) fn speaks_unasked(&mut self) {
        self.unanswered.pop_front();
    }

    pub(super) fn hears(&mut self, bytes: &[u8]) {
        if is_telnet(bytes) {
            return;
        }
        self.asked += 1;
        let verb = Command::parse(Line::from_bytes(bytes.to_vec().into())).verb();
        let by_gateway = self.ends_tls
            && match verb {
                Verb::Pbsz | Verb::Prot | Verb::Ccc => true,
                Verb::Auth => self.asked_for_tls,
                _ => false,
            };
        self.unanswered.push_back(Asked { number: self.asked, verb: Some(verb), by_gateway });
    }

    pub(super) fn reply(&mut self, manner: u8) -> Option<Reply> {
        let Asked { number, verb, by_gateway } = *self.unanswered.front()?;
        let whom = if by_gateway { "gateway" } else { "client" };
        let code = match (manner & 7, verb) {
            (5, _) => 502,
            (6, _) => 120,
            (7, _) => {
                [234, 200, 334, 533, 536, 331, 633, 421, 225, 150][usize::from(manner >> 3) % 10]
            }
            (_, None) => 220,
            (_, Some(Verb::Auth)) => 234,
            (_, Some(Verb::User | Verb::Pass | Verb::Acct)) => 230,
            (_, Some(Verb::Pasv)) => 227,
            (_, Some(Verb::Epsv)) => 229,
            (_, Some(Verb::Feat)) => 211,
            (_, Some(Verb::Quit)) => 221,
            (_, Some(Verb::Abor)) => 226,
            (3, Some(verb)) if verb.transfers_data() => 150,
            (_, Some(verb)) if verb.transfers_data() => 226,
            (_, Some(_)) => 200,
        };
        let words = match code {
            227 => {
                let octets = self.address.ip().to_string().replace('.', ",");
                let octets = if self.address.is_ipv4() { octets } else { "10,0,0,5".into() };
                format!("Passive ({octets},195,90)")
            }
            229 => "Extended (|||50010|)".to_owned(),
            _ => format!("for {whom} {number}"),
        };
        let last = format!("{code} {words}\r\n");
        let text = if manner & 7 == 4 {
            format!("{code}-for {whom} {number}\r\n 230 for {whom} {number}\r\n{last}")
        } else {
            last
        };
        if !(100..200).contains(&code) {
            self.unanswered.pop_front();
        }
        let unfit = verb == Some(Verb::Abor) && !matches!(code, 226 | 500..=502);
        Some(Reply { bytes: text.into(), is_odd: unfit || ODD.contains(&code) })
    }
}
