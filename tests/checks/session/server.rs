//! A server that answers what it is asked, in order, and says in each reply whom it is for: the
//! client, or the gateway that has asked by itself.

use super::rules::Rules;
use super::script::Script;
use super::text::{command, is_telnet};
use super::truth::Truth;
use ftpgate::ftp::Verb;
use ftpgate::session::{TlsMode, TlsStart};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Replies with these codes end, or belong to, something else than the command at hand.
const ODD: &[u16] = &[633, 421, 225];

/// What the gateway asks where rules are about paths; clients of the plays write it otherwise.
pub(super) const OWN_PWD: &[u8] = b"PWD\r\n";

/// What it offers where there are rules.
const FEATURES: &[&str] = &["MDTM", "MFMT", "REST STREAM", "SIZE", "SITE EXEC", "RANG STREAM"];

/// What a server is asked.
pub(super) struct Server {
    address: SocketAddr,
    /// TLS with it ends at the gateway.
    ends_tls: bool,
    /// The gateway asks for TLS by itself.
    asked_for_tls: bool,
    unanswered: VecDeque<Asked>,
    asked: u32,
    /// The owner's rules, which what it works off is held against.
    rules: Option<Rules>,
    /// What is true of its client; `None` once it has answered otherwise than in order.
    truth: Option<Truth>,
    /// Behind this line no other one may come but the client's.
    half: bool,
}

#[derive(Debug, Clone)]
struct Asked {
    number: u32,
    /// `None`: it has greeted nobody yet.
    verb: Option<Verb>,
    by_gateway: bool,
    line: Vec<u8>,
    /// TLS with the client ended at the gateway when it was sent.
    secured: bool,
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
        let greeting =
            Asked { number: 0, verb: None, by_gateway: false, line: Vec::new(), secured: false };
        Self {
            address: script.server,
            ends_tls,
            asked_for_tls: ends_tls && !by_client,
            unanswered: VecDeque::from([greeting]),
            asked: 0,
            rules: script.rules,
            truth: script.rules.map(|_| Truth::default()),
            half: false,
        }
    }

    /// What it says by itself answers something as well, for whoever reads it.
    pub(super) fn speaks_unasked(&mut self) {
        self.unanswered.pop_front();
        self.truth = None;
    }

    /// True if somebody waits for a reply.
    pub(super) fn waits(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// What is true of its client, as long as that is known.
    pub(super) fn truth(&self) -> Option<&Truth> {
        self.truth.as_ref()
    }

    /// `secured`: TLS with the client ends, or has ended, at the gateway.
    pub(super) fn hears(&mut self, bytes: &[u8], secured: bool) {
        if is_telnet(bytes) {
            return;
        }
        self.asked += 1;
        let verb = command(bytes).verb();
        let by_gateway = self.ends_tls
            && match verb {
                Verb::Pbsz | Verb::Prot | Verb::Ccc => true,
                Verb::Auth => self.asked_for_tls,
                _ => false,
            };
        let line = bytes.to_vec();
        if let Some(rules) = self.rules {
            let own = by_gateway || bytes == OWN_PWD;
            let words = bytes.escape_ascii();
            assert!(rules.may_connect(), "{words} to a server that is refused");
            assert!(own || rules.may_come(&line, None, secured), "{words} is refused by {rules:?}");
            assert!(line != OWN_PWD || !self.half, "{words} between two halves");
            self.half = matches!(verb, Verb::Rnfr | Verb::Rest);
        }
        self.unanswered.push_back(Asked {
            number: self.asked,
            verb: Some(verb),
            by_gateway,
            line,
            secured,
        });
    }

    /// What it says to the line by what is true, in one of two manners. The line is one that the rules
    /// let pass at this moment.
    fn code(&self, asked: &Asked, manner: u8) -> Option<u16> {
        let (rules, truth) = (self.rules?, self.truth.as_ref()?);
        asked.verb?;
        let own = asked.by_gateway || asked.line == OWN_PWD;
        let allowed = own || rules.may_come(&asked.line, Some(truth), asked.secured);
        let words = asked.line.escape_ascii();
        assert!(allowed, "{words} came, and {rules:?} refuse it to {truth:?}");
        truth.code(&asked.line, manner & 7 == 1)
    }

    pub(super) fn reply(&mut self, manner: u8) -> Option<Reply> {
        let asked = self.unanswered.front()?.clone();
        let Asked { number, verb, by_gateway, .. } = asked;
        let true_code = self.code(&asked, manner);
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
        let code = if manner & 7 < 5 { true_code.unwrap_or(code) } else { code };
        let words = match code {
            227 => {
                let octets = self.address.ip().to_string().replace('.', ",");
                let octets = if self.address.is_ipv4() { octets } else { "10,0,0,5".into() };
                format!("Passive ({octets},195,90)")
            }
            229 => "Extended (|||50010|)".to_owned(),
            257 => self.truth.as_ref().map(Truth::words).unwrap_or_default(),
            _ if asked.line == OWN_PWD => "nobody's".to_owned(),
            _ => format!("for {whom} {number}"),
        };
        let last = format!("{code} {words}\r\n");
        let text = if verb == Some(Verb::Feat) && self.rules.is_some() && code == 211 {
            let features: String = FEATURES.iter().map(|name| format!(" {name}\r\n")).collect();
            format!("211-Features\r\n{features}{last}")
        } else if asked.line == OWN_PWD && manner & 7 == 4 {
            format!("{code}-\r\n 257 \"/pub\"\r\n{last}")
        } else if manner & 7 == 4 {
            format!("{code}-for {whom} {number}\r\n 230 for {whom} {number}\r\n{last}")
        } else {
            last
        };
        if !(100..200).contains(&code) {
            self.unanswered.pop_front();
        }
        let unfit = verb == Some(Verb::Abor) && !matches!(code, 226 | 500..=502);
        let is_odd = unfit || ODD.contains(&code);
        if is_odd || manner & 7 == 7 {
            self.truth = None;
        } else if let Some(truth) = &mut self.truth {
            truth.answered(&asked.line, code);
        }
        Some(Reply { bytes: text.into(), is_odd })
    }
}
