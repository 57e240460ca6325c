//! What changes from one configuration to the next, key by key, and what cannot while the gateway
//! runs.
//!
//! Not here: how the change is made (the application does it).

use super::types::{Config, Listener, Server};
use super::{CertificateFiles, PolicyConfig, Roots, RuleConfig};
use super::{advertise, confinement, limits};
use crate::policy::{Among, OwnReply, Rule, RuleVerdict};
use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::path::PathBuf;
use std::time::Duration;

/// Keys that are fixed when the gateway starts: its table and mark are in the owner's rules and on
/// connections that run, its sets are sized for the blind range, these sockets and files have one
/// owner, and what was given up does not come back.
const FIXED: &[&str] = &[
    "admin.socket",
    "confinement.capabilities",
    "confinement.landlock",
    "confinement.no_new_privs",
    "confinement.seccomp",
    "confinement.user",
    "data.blind_ports",
    "firewall.backend",
    "firewall.mark",
    "firewall.table",
    "telemetry.audit.journald",
    "telemetry.audit.on_error",
    "telemetry.audit.path",
    "telemetry.listen",
    "telemetry.log.format",
    "telemetry.page",
];

/// Every key that has another value in `new`, a line each: `listeners[out].tls.mode: passthrough ->
/// intercept`. A listener or policy that comes or goes is one line.
pub fn changes(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (flat(old), flat(new));
    let mut lines = Vec::new();
    for (item, keys) in &old {
        match new.get(item) {
            None => lines.push(format!("{item}: removed")),
            Some(others) => lines.extend(keys.iter().filter_map(|(key, value)| {
                let other = others.get(key)?;
                (other != value).then(|| format!("{item}{key}: {value} -> {other}"))
            })),
        }
    }
    lines.extend(new.keys().filter(|item| !old.contains_key(*item)).map(|i| format!("{i}: added")));
    lines.sort();
    lines
}

/// The keys with another value in `new` that need a restart.
pub fn fixed_changes(old: &Config, new: &Config) -> Vec<&'static str> {
    let (old, new) = (flat(old), flat(new));
    let of = |config: &Flat, key: &str| config.get("").and_then(|keys| keys.get(key)).cloned();
    FIXED.iter().copied().filter(|key| of(&old, key) != of(&new, key)).collect()
}

/// Values by key, by the item of a list that they belong to; the item is empty for keys that stand
/// once.
type Flat = BTreeMap<String, BTreeMap<&'static str, String>>;

fn flat(config: &Config) -> Flat {
    let mut items = Flat::new();
    for listener in &config.listeners {
        items.insert(format!("listeners[{}]", listener.name), listener_keys(listener));
    }
    for (name, policy) in &config.policies {
        items.insert(format!("policies.{name}"), policy_keys(policy));
        for rule in &policy.rules {
            items.insert(format!("policies.{name}.rules[{}]", rule.rule.name), rule_keys(rule));
        }
    }
    items.insert(String::new(), single_keys(config));
    items
}

fn listener_keys(listener: &Listener) -> BTreeMap<&'static str, String> {
    let tls = &listener.tls;
    BTreeMap::from([
        (".listen", listener.listen.to_string()),
        (".capture", listener.capture.label().to_owned()),
        (".capture_ports", list(&listener.capture_ports)),
        (
            ".server",
            match &listener.server {
                Server::Original => "original".to_owned(),
                Server::Address { host, port } => format!("{host}:{port}"),
            },
        ),
        (".source", listener.source.label().to_owned()),
        (".policy", listener.policy.clone()),
        (".tls.mode", word(tls.mode)),
        (".tls.required", tls.required.to_string()),
        (".tls.client_start", word(tls.client_start)),
        (".tls.server_start", word(tls.server_start)),
        (".tls.verify", optional(tls.verify.map(word))),
        (".tls.client_reuse", word(tls.client_reuse)),
        (".tls.client_certificates", word(tls.client_certificates)),
        (".tls.server_ccc", word(tls.server_ccc)),
        (".tls.bypass", list(&tls.bypass)),
        (".proxy_protocol.accept_from", list(&listener.proxy_protocol.accept_from)),
        (".proxy_protocol.send", word(listener.proxy_protocol.send)),
        (".proxy_protocol.send_data", listener.proxy_protocol.send_data.to_string()),
        (".advertise.client", advertise::shown(&listener.advertise.client)),
        (".advertise.server", advertise::shown(&listener.advertise.server)),
    ])
}

fn policy_keys(policy: &PolicyConfig) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        (".strict", policy.strict.to_string()),
        (".low_ports", policy.low_ports.to_string()),
        (".profile", policy.profile.label().to_owned()),
        (".deny", list(&policy.deny)),
        (".allow_only", list(&policy.allow_only)),
        (".paths.deny", list(&policy.paths.deny)),
        (".paths.allow_only", list(&policy.paths.allow_only)),
        (".paths.ignore_case", policy.paths.ignore_case.to_string()),
        (".anonymous", policy.anonymous.label().to_owned()),
        (".servers", list(&policy.servers)),
        (".active", policy.active.label().to_owned()),
        (".fxp", policy.fxp.label().to_owned()),
        (".fxp_peers", list(&policy.fxp_peers)),
        (".data_protection", policy.data_protection.label().to_owned()),
        (".ccc", policy.ccc.label().to_owned()),
        // Their order decides.
        (".rules", list(policy.rules.iter().map(|rule| &rule.rule.name))),
    ])
}

fn rule_keys(rule: &RuleConfig) -> BTreeMap<&'static str, String> {
    let RuleConfig { listeners, rule: Rule { name: _, when, verdict } } = rule;
    let reply = |reply: &OwnReply| reply.to_string();
    let (verdict, reply) = match verdict {
        RuleVerdict::Allow => ("allow", "null".to_owned()),
        RuleVerdict::Refuse(own) => ("refuse", reply(own)),
        RuleVerdict::Close(own) => ("close", reply(own)),
    };
    let login = when.logged_in.map(|after| if after { "after" } else { "before" });
    let data = when.data_private.map(|private| if private { "private" } else { "clear" });
    BTreeMap::from([
        (".match.listener", of(listeners)),
        (".match.not_listener", except(listeners)),
        (".match.client", of(&when.clients)),
        (".match.not_client", except(&when.clients)),
        (".match.server", of(&when.servers)),
        (".match.not_server", except(&when.servers)),
        (".match.user", of(&when.users)),
        (".match.not_user", except(&when.users)),
        (".match.tls", list(when.tls.iter().flatten().map(word))),
        (".match.login", optional(login)),
        (".match.data", optional(data)),
        (".match.command", of(&when.commands)),
        (".match.not_command", except(&when.commands)),
        (".match.path", of(&when.paths)),
        (".match.not_path", except(&when.paths)),
        (".verdict", verdict.to_owned()),
        (".reply", reply),
    ])
}

fn of<T: Display>(condition: &Among<T>) -> String {
    match condition {
        Among::Of(entries) => list(entries),
        Among::Any | Among::Except(_) => "[]".to_owned(),
    }
}

fn except<T: Display>(condition: &Among<T>) -> String {
    match condition {
        Among::Except(entries) => list(entries),
        Among::Any | Among::Of(_) => "[]".to_owned(),
    }
}

fn single_keys(config: &Config) -> BTreeMap<&'static str, String> {
    let Config { data, firewall, tls, telemetry, admin, .. } = config;
    let mut keys = BTreeMap::from([
        ("data.path", data.path.label().to_owned()),
        ("data.mode", word(data.mode)),
        ("data.ports", data.ports.to_string()),
        ("data.slices", data.slices.to_string()),
        ("data.slice", data.slice.to_string()),
        ("data.blind_ports", data.blind_ports.map_or("none".to_owned(), |range| range.to_string())),
        ("data.open_timeout", time(data.open_timeout)),
        ("data.idle_timeout", time(data.idle_timeout)),
        ("firewall.backend", firewall.backend.label().to_owned()),
        ("firewall.table", firewall.table.clone()),
        ("firewall.mark", format!("{:#x}", firewall.mark)),
        ("tls.ca.certificate", tls.ca.certificate.display().to_string()),
        ("tls.ca.key", tls.ca.key.display().to_string()),
        ("tls.certificate.chain", file(tls.certificate.as_ref(), |files| &files.chain)),
        ("tls.certificate.key", file(tls.certificate.as_ref(), |files| &files.key)),
        ("tls.client.roots", optional(tls.client_roots.as_ref().map(|path| path.display()))),
        (
            "tls.server.roots",
            match &tls.server.roots {
                Roots::System => "system".to_owned(),
                Roots::File(path) => path.display().to_string(),
            },
        ),
        ("tls.server.verify", word(tls.server.verify)),
        (
            "tls.server.fingerprints",
            list(
                tls.server.fingerprints.iter().map(|bytes| {
                    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
                }),
            ),
        ),
        ("tls.server.untrusted", word(tls.server.untrusted)),
        (
            "tls.server.certificate.chain",
            file(tls.server.certificate.as_ref(), |files| &files.chain),
        ),
        ("tls.server.certificate.key", file(tls.server.certificate.as_ref(), |files| &files.key)),
        ("tls.server.client_certificates", word(tls.server.client_certificates)),
        ("telemetry.listen", optional(telemetry.listen)),
        ("telemetry.log.format", word(telemetry.log.format)),
        ("telemetry.log.level", word(telemetry.log.level)),
        ("telemetry.page", telemetry.page.to_string()),
        ("telemetry.audit.journald", telemetry.audit.journald.to_string()),
        ("telemetry.audit.on_error", word(telemetry.audit.on_error)),
        ("admin.socket", optional(admin.socket.as_ref().map(|path| path.display()))),
        (
            "telemetry.audit.path",
            optional(telemetry.audit.path.as_ref().map(|path| path.display())),
        ),
    ]);
    keys.extend(confinement::shown(&config.confinement));
    keys.extend(limits::keys(&config.limits));
    keys
}

/// A variant without values, as the file writes it: `ImplicitAfterGreeting` is
/// `implicit-after-greeting`.
fn word(variant: impl Debug) -> String {
    let mut word = String::new();
    for letter in format!("{variant:?}").chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}

fn optional(value: Option<impl Display>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

fn file(files: Option<&CertificateFiles>, of: impl Fn(&CertificateFiles) -> &PathBuf) -> String {
    optional(files.map(|files| of(files).display()))
}

fn time(duration: Duration) -> String {
    format!("{duration:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{keys, parse};
    use std::collections::BTreeSet;

    const OLD: &str = "listeners:\n  - { name: a, server: 'h:21' }\n  - { name: b, listen: \
                       '0.0.0.0:2122', server: 'h:21' }\n";

    fn config(text: &str) -> Config {
        parse("x.yaml", text).unwrap()
    }

    #[test]
    fn every_key_that_can_be_written_is_compared() {
        let flat = flat(&config(
            "listeners: [{ server: 'h:21' }]\npolicies: { x: { rules: [{ name: a, verdict: allow }] } \
             }\n",
        ));
        let pattern = |item: &str| match item {
            "" => "",
            item if item.starts_with("listeners[") => "listeners[]",
            item if item.contains(".rules[") => "policies.*.rules[]",
            _ => "policies.*",
        };
        let compared: BTreeSet<String> = flat
            .iter()
            .flat_map(|(item, keys)| keys.keys().map(move |key| format!("{}{key}", pattern(item))))
            .collect();
        // The name is what a listener or a rule is known by.
        let others = ["listeners[].name", "policies.*.rules[].name"];
        let left: Vec<String> = keys().difference(&compared).cloned().collect();
        assert_eq!(left, others);
        assert!(FIXED.iter().all(|key| compared.contains(*key)));
    }

    #[test]
    fn a_change_is_told_with_its_key_and_both_values() {
        let old = config(OLD);
        assert!(changes(&old, &old).is_empty());
        let new = config(
            "listeners:\n  - { name: a, server: 'h:21', tls: { mode: refuse } }\n  - { name: c, \
             server: 'h:21', listen: '0.0.0.0:2123' }\nlimits: { idle_timeout: 90s }\n",
        );
        let expected = [
            "limits.idle_timeout: 900s -> 90s",
            "listeners[a].tls.mode: passthrough -> refuse",
            "listeners[b]: removed",
            "listeners[c]: added",
        ];
        assert_eq!(changes(&old, &new), expected);
        assert!(fixed_changes(&old, &new).is_empty());
    }

    #[test]
    fn a_rule_that_comes_and_one_that_changes_are_told() {
        let with =
            |rules: &str| config(&format!("{OLD}policies: {{ default: {{ rules: {rules} }} }}"));
        let old = with("[{ name: a, verdict: refuse, match: { client: [192.0.2.1] } }]");
        let new = with(
            "[{ name: b, verdict: allow, match: { command: [DELE] } }, { name: a, verdict: refuse, \
             reply: 502 No., match: { client: [192.0.2.2] } }]",
        );
        let expected = [
            "policies.default.rules: [a] -> [b, a]",
            "policies.default.rules[a].match.client: [192.0.2.1/32] -> [192.0.2.2/32]",
            "policies.default.rules[a].reply: 421 This is refused here; closing the connection. -> \
             502 No.",
            "policies.default.rules[b]: added",
        ];
        assert_eq!(changes(&old, &new), expected);
    }

    #[test]
    fn what_needs_a_restart_is_known() {
        let new = format!("{OLD}firewall: {{ mark: 0x77 }}\ntelemetry: {{ listen: null }}\n");
        assert_eq!(
            fixed_changes(&config(OLD), &config(&new)),
            ["firewall.mark", "telemetry.listen"]
        );
    }

    #[test]
    fn variants_are_written_as_in_the_file() {
        let start = crate::config::TlsStart::ImplicitAfterGreeting;
        assert_eq!(word(start), start.label());
    }
}
