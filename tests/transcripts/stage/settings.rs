//! The lines with `@`: what stands before the conversation, up to the server that is connected to.

use super::Stage;
use super::words::side_of;
use crate::rules;
use ftpgate::addr::{Addresses, ByOwn, External, OriginalDst};
use ftpgate::policy::Fxp;
use ftpgate::policy::bypass::{BypassEntry, NamePattern};
use ftpgate::session::{
    Event, ModeChoice, Parties, PathChoice, ServerCcc, Session, Source, TlsMode, TlsStart,
};
use ftpgate::terms::Side;
use std::sync::Arc;

impl Stage {
    pub(super) fn set(&mut self, what: &str) -> Result<(), String> {
        if let Some(rule) = what.strip_prefix("rule ") {
            let rules = &mut self.settings.policy.rules;
            let name = (rules.len() + 1).to_string();
            rules.push(rules::read_rule(&name, rule).ok_or_else(|| format!("no rule: {rule}"))?);
            return Ok(());
        }
        let words: Vec<&str> = what.split_whitespace().collect();
        let address = |text: &str| text.parse().map_err(|_| format!("no address: {text}"));
        match words.as_slice() {
            ["client", client] => self.client = address(client)?,
            ["dialled", dialled, whom] => {
                self.dialled = address(dialled)?;
                self.dials_gateway = *whom == "gateway";
            }
            ["introduced-at", at] => self.introduced_at = at.parse().ok(),
            ["in-use"] => self.in_use = true,
            ["kernel"] => self.settings.kernel = true,
            ["strict"] => self.settings.policy.strict = true,
            ["low-ports"] => self.settings.policy.low_ports = true,
            ["fxp", "same-net"] => self.settings.policy.fxp = Fxp::SameNet,
            ["fxp", networks @ ..] => {
                let networks: Option<_> =
                    networks.iter().map(|text| rules::network(text)).collect();
                self.settings.policy.fxp = Fxp::Listed(networks.ok_or("no network")?);
            }
            ["server-name", name] => self.settings.server_name = Some((*name).to_owned()),
            ["tls-required"] => self.settings.tls_required = true,
            ["tls-start", start] => {
                let start = start_of(start)?;
                (self.settings.client_start, self.settings.server_start) = (start, start);
            }
            ["client-start", start] => self.settings.client_start = start_of(start)?,
            ["server-start", start] => self.settings.server_start = start_of(start)?,
            ["tls", "refuse"] => self.settings.tls = TlsMode::Refuse,
            ["tls", "intercept"] => self.settings.tls = TlsMode::Intercept,
            ["tls", "offload"] => self.settings.tls = TlsMode::Offload,
            ["tls", "originate"] => self.settings.tls = TlsMode::Originate,
            ["server-ccc", "never"] => self.settings.server_ccc = ServerCcc::Never,
            ["server-ccc", "always"] => self.settings.server_ccc = ServerCcc::Always,
            ["bypass", name] => {
                self.settings.bypass.push(BypassEntry::Name(NamePattern::exact(name)));
            }
            ["wants-certificate"] => self.wants_certificate = true,
            ["blind-ports"] => self.settings.blind_ports = true,
            ["send-data-header"] => self.settings.send_data_header = true,
            ["source", "client"] => self.settings.source = Source::Client,
            ["path", "kernel"] => self.settings.path = PathChoice::Kernel,
            ["path", "relay"] => self.settings.path = PathChoice::Relay,
            ["mode", "passive"] => self.settings.mode = ModeChoice::Passive,
            ["mode", "active"] => self.settings.mode = ModeChoice::Active,
            ["advertise", side, ip] => self.external(side)?.others = external(ip)?,
            ["advertise", side, ip, "for", own] => {
                let own = own.parse().map_err(|_| format!("no address: {own}"))?;
                self.external(side)?.of.insert(own, external(ip)?);
            }
            ["server", server, "seen-as", seen_as] => {
                let parties = Parties {
                    client: self.client,
                    original_dst: OriginalDst(self.dialled),
                    dials_gateway: self.dials_gateway,
                    external_client: self.external_client.clone(),
                    external_server: self.external_server.clone(),
                    introduced_at: self.introduced_at,
                };
                let settings = Arc::new(self.settings.clone());
                let mut session = Session::new(settings, parties, self.now);
                let server = address(server)?;
                session.handle_event(Event::ServerFound { server }, self.now);
                let event = Event::ServerConnected {
                    server,
                    seen_as: address(seen_as)?,
                    wants_certificate: self.wants_certificate,
                };
                session.handle_event(event, self.now);
                self.session = Some(session);
            }
            ["logged-in"] => {
                for (side, line) in [
                    (Side::Server, "220 ready"),
                    (Side::Client, "USER a"),
                    (Side::Server, "230 in"),
                ] {
                    self.say(side, line);
                }
                self.drain();
            }
            other => return Err(format!("unknown setting {other:?}")),
        }
        Ok(())
    }

    fn external(&mut self, side: &str) -> Result<&mut ByOwn, String> {
        Ok(match side_of(side)? {
            Side::Client => &mut self.external_client,
            Side::Server => &mut self.external_server,
        })
    }
}

fn start_of(word: &str) -> Result<TlsStart, String> {
    match word {
        "explicit" => Ok(TlsStart::Explicit),
        "implicit" => Ok(TlsStart::Implicit),
        "implicit-after-greeting" => Ok(TlsStart::ImplicitAfterGreeting),
        other => Err(format!("no start: {other}")),
    }
}

fn external(ip: &str) -> Result<External, String> {
    match ip {
        "unknown" => Ok(External::Found(Addresses::default())),
        ip => ip.parse().map(External::Address).map_err(|_| format!("no address: {ip}")),
    }
}
