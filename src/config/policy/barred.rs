//! Keys that together leave a listener without sessions, without logins or without transfers: a
//! gateway that starts and serves nobody is found out much later.
//!
//! Not here: what one key or the owner's own rules refuse by themselves, which is said plainly there.

use super::Found;
use super::compile::TRANSFERS;
use super::file::PolicyFile;
use crate::config::file::ListenerFile;
use crate::config::section::Notes;
use crate::config::tls::{TlsMode, TlsStart};
use crate::config::types::Server;
use crate::policy::{Ahead, Policy, Question, ServerAhead, TlsState};
use std::collections::BTreeSet;

/// The commands that agree on a data connection.
const NEGOTIATIONS: [&str; 4] = ["EPRT", "EPSV", "PASV", "PORT"];

/// What is known of the sessions of a listener that can be read.
struct Known<'a> {
    name: &'a str,
    mode: TlsMode,
    start: TlsStart,
    required: bool,
    server: &'a Server,
}

impl<'a> Known<'a> {
    fn of(listener: &'a ListenerFile) -> Option<Self> {
        Some(Self {
            name: listener.name.good()?,
            mode: *listener.tls.mode.good()?,
            start: *listener.tls.client_start.good()?,
            required: *listener.tls.required.good()?,
            server: listener.server.good()?,
        })
    }

    fn ahead(&self) -> Ahead<'a> {
        let (mode, server) = (self.mode, self.server);
        Ahead {
            server: match server {
                Server::Original => {
                    ServerAhead::Original { named_later: mode == TlsMode::Intercept }
                }
                Server::Address { host, .. } => match host.parse() {
                    Ok(address) => ServerAhead::Address(address),
                    Err(_) => ServerAhead::Name(host),
                },
            },
            tls: match mode {
                TlsMode::Refuse | TlsMode::Originate => &[TlsState::Clear],
                TlsMode::Passthrough => &[TlsState::Clear, TlsState::Cleared],
                TlsMode::Intercept | TlsMode::Offload => {
                    &[TlsState::Clear, TlsState::Secured, TlsState::Cleared]
                }
            },
            data_private: None,
        }
    }
}

/// Notes what bars everybody from the listeners that have this policy.
pub(super) fn check(policy: &PolicyFile, listeners: &[ListenerFile], notes: &Notes) {
    let is_its = |one: &&ListenerFile| one.policy.good().is_some_and(|name| name == policy.name());
    // Once a key: what is wrong for one listener is mostly so for the next.
    let mut told = BTreeSet::new();
    for listener in listeners.iter().filter(is_its).filter_map(Known::of) {
        let compiled = policy.config.compile(listener.name);
        let barred = servers(policy, &listener, &compiled)
            .or_else(|| login(policy, &listener, &compiled))
            .or_else(|| unprotected(policy, &listener, &compiled))
            .or_else(|| transfers(policy, &listener, &compiled));
        if let Some((key, message)) = barred
            && told.insert(key.key.clone())
        {
            notes.problem_with(key, message);
        }
    }
}

/// Where it is told, and what.
type Barred<'a> = Option<(&'a Found<()>, String)>;

fn refuses(policy: &Policy, ahead: &Ahead<'_>, verb: &str, argument: &str) -> Option<String> {
    let question = Question::Command { verb: verb.as_bytes(), argument: argument.as_bytes() };
    policy.refuses_everybody(ahead, &question).map(|rule| rule.name.to_string())
}

/// The rules that refuse these commands to everybody; `None` if one of the commands may pass.
fn refuses_all(policy: &Policy, ahead: &Ahead<'_>, verbs: &[&str]) -> Option<BTreeSet<String>> {
    verbs.iter().map(|verb| refuses(policy, ahead, verb, "")).collect()
}

/// Names where none is known. A list that leaves out the one server that the owner names is said plainly.
fn servers<'a>(policy: &'a PolicyFile, listener: &Known<'_>, compiled: &Policy) -> Barred<'a> {
    let rule = compiled.refuses_everybody(&listener.ahead(), &Question::Connect)?;
    let key = policy.key_of(&rule.name).filter(|_| &*rule.name == "servers")?;
    let message = format!(
        "listener `{}` has server: original, where no name is known while connecting, so that every \
         session is closed: write networks, for example [198.51.100.0/24]",
        listener.name
    );
    (*listener.server == Server::Original).then_some((key, message))
}

/// TLS that is asked for and cannot begin.
fn login<'a>(policy: &'a PolicyFile, listener: &Known<'_>, compiled: &Policy) -> Barred<'a> {
    if !listener.required || listener.start != TlsStart::Explicit {
        return None;
    }
    let rule = refuses(compiled, &listener.ahead(), "AUTH", "TLS")?;
    let name = listener.name;
    let message = format!(
        "AUTH is refused, and listener `{name}` has tls.required, so that nobody could log in: let AUTH \
         pass, or write required: false"
    );
    Some((policy.key_of(&rule)?, message))
}

/// Data connections that have to be private, and cannot be.
fn unprotected<'a>(policy: &'a PolicyFile, listener: &Known<'_>, compiled: &Policy) -> Barred<'a> {
    let (name, mode) = (listener.name, listener.mode);
    let ahead = Ahead { data_private: Some(false), ..listener.ahead() };
    refuses_all(compiled, &ahead, &TRANSFERS)?.take("data_protection")?;
    let refused = |verb, argument| refuses(compiled, &ahead, verb, argument);
    let explicit = listener.start == TlsStart::Explicit;
    let why = match mode {
        TlsMode::Refuse | TlsMode::Originate => {
            format!("has tls.mode: {}, where clients have no TLS", mode.label())
        }
        _ if explicit && refused("AUTH", "TLS").is_some() => "refuses AUTH".to_owned(),
        TlsMode::Intercept | TlsMode::Offload if refused("PROT", "P").is_some() => {
            "refuses PROT P".to_owned()
        }
        TlsMode::Passthrough | TlsMode::Intercept | TlsMode::Offload => return None,
    };
    let instead = match mode {
        TlsMode::Refuse => ", or mode: passthrough, intercept or offload there",
        TlsMode::Originate => ", or mode: intercept there",
        TlsMode::Passthrough | TlsMode::Intercept | TlsMode::Offload => ", or let that pass",
    };
    let message = format!(
        "listener `{name}` {why}, so that data connections are never private and every transfer is \
         refused: write any{instead}"
    );
    Some((policy.key_of("data_protection")?, message))
}

/// Keys that each leave some commands, and together none.
fn transfers<'a>(policy: &'a PolicyFile, listener: &Known<'_>, compiled: &Policy) -> Barred<'a> {
    let all = [
        (&TRANSFERS[..], "transfer and listing"),
        (&NEGOTIATIONS[..], "way to agree on a data connection"),
    ];
    all.into_iter().find_map(|(verbs, what)| {
        let by = refuses_all(compiled, &listener.ahead(), verbs)?;
        let keys: Vec<&Found<()>> = by.iter().filter_map(|rule| policy.key_of(rule)).collect();
        let (last, true) = (keys.last()?, keys.len() > 1) else { return None };
        let names: Vec<&str> = by.iter().map(String::as_str).collect();
        let message = format!(
            "{} together refuse every {what} ({}) to listener `{}`: leave one of them out, or let one \
             of these commands pass in each",
            names.join(" and "),
            verbs.join(", "),
            listener.name
        );
        Some((*last, message))
    })
}
