//! The owner's rules in few words, as transcripts have them.

use ftpgate::policy::bypass::{BypassEntry, NamePattern, Network};
use ftpgate::policy::{
    Among, CommandPattern, OwnReply, Pattern, Rule, RuleVerdict, TlsState, When,
};
use std::net::IpAddr;

/// Reads `refuse 550 No. if commands DELE, SITE EXEC; users except bob; logged-in no`. The verdict is
/// `allow`, or `refuse` or `close` with a reply; the rule bears the name given.
pub fn read_rule(name: &str, text: &str) -> Option<Rule> {
    let (said, conditions) = text.split_once(" if ").unwrap_or((text, ""));
    let mut when = When::default();
    for condition in conditions.split(';').map(str::trim).filter(|words| !words.is_empty()) {
        let (key, value) = condition.split_once(' ')?;
        match key {
            "clients" => when.clients = among(value, network)?,
            "servers" => when.servers = among(value, server)?,
            "users" => when.users = among(value, |text| Pattern::name(text).ok())?,
            "commands" => when.commands = among(value, CommandPattern::parse)?,
            "paths" => when.paths = among(value, |text| Pattern::path(text).ok())?,
            "logged-in" => when.logged_in = Some(value == "yes"),
            "data-private" => when.data_private = Some(value == "yes"),
            "tls" => when.tls = value.split(", ").map(tls_state).collect(),
            _ => return None,
        }
    }
    Some(Rule { name: name.into(), when, verdict: verdict(said)? })
}

fn verdict(text: &str) -> Option<RuleVerdict> {
    let (word, reply) = text.split_once(' ').unwrap_or((text, ""));
    let reply =
        reply.split_once(' ').and_then(|(code, text)| OwnReply::new(code.parse().ok()?, text));
    match word {
        "allow" => Some(RuleVerdict::Allow),
        "refuse" => reply.map(RuleVerdict::Refuse),
        "close" => reply.map(RuleVerdict::Close),
        _ => None,
    }
}

fn among<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Among<T>> {
    let list = |text: &str| text.split(", ").map(&read).collect::<Option<Vec<_>>>();
    match text.strip_prefix("except ") {
        Some(text) => list(text).map(Among::Except),
        None => list(text).map(Among::Of),
    }
}

/// A network in CIDR notation.
pub fn network(text: &str) -> Option<Network> {
    let (address, prefix) = text.split_once('/')?;
    Network::new(address.parse().ok()?, prefix.parse().ok()?)
}

fn server(text: &str) -> Option<BypassEntry> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let all = if address.is_ipv4() { 32 } else { 128 };
        return Network::new(address, all).map(BypassEntry::Network);
    }
    match network(text) {
        Some(network) => Some(BypassEntry::Network(network)),
        None => Some(BypassEntry::Name(NamePattern::exact(text))),
    }
}

fn tls_state(word: &str) -> Option<TlsState> {
    match word {
        "clear" => Some(TlsState::Clear),
        "secured" => Some(TlsState::Secured),
        "cleared" => Some(TlsState::Cleared),
        _ => None,
    }
}
