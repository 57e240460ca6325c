//! The rules of policies, by their names, and whom they do not reach.

use crate::config::{BypassEntry, Config, Listener, Server, TlsMode};

/// Each policy with rules, and each of its listeners on which commands may go unseen.
pub(super) fn lines(config: &Config) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for (name, policy) in &config.policies {
        let mut names: Vec<String> =
            policy.all_rules().iter().map(|rule| rule.rule.name.to_string()).collect();
        names.dedup();
        if names.is_empty() {
            continue;
        }
        lines.push(("policy", format!("{name}: {}", names.join(", "))));
        let named: Vec<String> = policy.servers.iter().filter_map(name_of).collect();
        let unnamed = |listener: &&Listener| {
            listener.policy == *name && listener.server == Server::Original && !named.is_empty()
        };
        lines.extend(config.listeners.iter().filter(unnamed).map(|listener| {
            let (name, named) = (&listener.name, named.join(", "));
            let meaning = format!(
                "listener {name}: sessions to {named} are closed unless their addresses are among servers as \
                 well, for no name is known while connecting (server: original)"
            );
            ("", meaning)
        }));
        let unseen = |listener: &&Listener| {
            listener.policy == *name && listener.tls.mode == TlsMode::Passthrough
        };
        if policy.judges_commands() {
            lines.extend(config.listeners.iter().filter(unseen).map(|listener| {
                let name = &listener.name;
                let meaning = format!(
                    "listener {name}: commands inside TLS from end to end are not seen, only tls.mode: \
                     intercept, offload or refuse leaves none"
                );
                ("", meaning)
            }));
        }
    }
    lines
}

fn name_of(entry: &BypassEntry) -> Option<String> {
    match entry {
        BypassEntry::Network(_) => None,
        BypassEntry::Name(pattern) => Some(pattern.to_string()),
    }
}
