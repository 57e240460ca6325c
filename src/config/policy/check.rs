//! What the keys of a policy contradict, and rules that could never apply.

use super::compile::ENCLOSED_RULE;
use super::file::{PolicyFile, RuleFile};
use super::{FxpChoice, barred};
use crate::config::file::ListenerFile;
use crate::config::section::Notes;
use crate::config::value;
use crate::policy::{Among, CommandPattern, RuleVerdict, When};

/// What a policy that refuses it to everybody had better not be written for.
const NEEDED: [&str; 3] = ["PASS", "QUIT", "USER"];

/// The rules that keys stand for: their names are taken.
pub(super) const KEYS: [&str; 11] = [
    "active",
    "allow_only",
    "anonymous",
    "ccc",
    "data_protection",
    "deny",
    ENCLOSED_RULE,
    "paths.allow_only",
    "paths.deny",
    "profile",
    "servers",
];

/// Notes every problem between the keys of a policy.
pub(in crate::config) fn check(policy: &PolicyFile, listeners: &[ListenerFile], notes: &Notes) {
    check_fxp(policy, notes);
    check_needed(policy, notes);
    for (index, rule) in policy.rules.iter().enumerate() {
        let earlier = policy.rules.get(..index).unwrap_or_default();
        check_name(rule, earlier, notes);
        check_listeners(rule, policy, listeners, notes);
        check_paths(rule, notes);
        check_reach(rule, earlier, notes);
    }
    // A key that could not be read may be the one that lets pass.
    if !notes.complained_below(&policy.section) {
        barred::check(policy, listeners, notes);
    }
}

fn check_fxp(policy: &PolicyFile, notes: &Notes) {
    let (Some(fxp), Some(peers)) = (policy.fxp.good(), policy.fxp_peers.good()) else { return };
    if *fxp == FxpChoice::Listed && peers.is_empty() {
        notes.problem_with(
            &policy.fxp,
            "nobody is listed: write fxp_peers, for example [198.51.100.0/24], or fxp: never",
        );
    }
    if *fxp != FxpChoice::Listed && !peers.is_empty() {
        notes.problem_with(
            &policy.fxp_peers,
            "the list is used by fxp: listed alone: write that, or leave the list out",
        );
    }
}

fn check_needed(policy: &PolicyFile, notes: &Notes) {
    let needed = |command: &&CommandPattern| matches!(command.words(), [verb] if NEEDED.contains(&verb.as_str()));
    if let Some(command) = policy.deny.value.iter().find(needed) {
        notes.problem_with(
            &policy.deny,
            format!(
                "no client could do without {command}: leave it out, or write a rule that says whose \
                 {command} is refused"
            ),
        );
    }
}

fn check_name(rule: &RuleFile, earlier: &[RuleFile], notes: &Notes) {
    let Some(name) = rule.name.good().filter(|name| !name.is_empty()) else { return };
    if earlier.iter().any(|other| other.name.good() == Some(name)) {
        let message = format!("another rule is called `{name}` already: write another name");
        notes.problem_with(&rule.name, message);
    }
    if KEYS.contains(&name.as_str()) {
        let message = format!("the rule of the key `{name}` is called so: write another name");
        notes.problem_with(&rule.name, message);
    }
}

fn check_listeners(
    rule: &RuleFile,
    policy: &PolicyFile,
    listeners: &[ListenerFile],
    notes: &Notes,
) {
    let (Among::Of(names) | Among::Except(names)) = &rule.listeners.value else { return };
    for name in names {
        let Some(listener) = listeners.iter().find(|one| one.name.value == *name) else {
            let known: Vec<&str> = listeners.iter().map(|one| one.name.value.as_str()).collect();
            notes.problem_with(
                &rule.listeners,
                format!(
                    "there is no listener `{}`: write {}",
                    name.escape_debug(),
                    value::one_of(&known)
                ),
            );
            continue;
        };
        if listener.policy.good().is_some_and(|other| *other != policy.name) {
            notes.problem_with(
                &rule.listeners,
                format!(
                    "listener `{name}` has policy {}, not this one: leave it out, or write policy: \
                     {} there",
                    listener.policy.value, policy.name
                ),
            );
        }
    }
}

fn check_paths(rule: &RuleFile, notes: &Notes) {
    let when = &rule.rule.rule.when;
    let Among::Of(commands) = &when.commands else { return };
    if when.paths.is_given()
        && let Some(command) = commands.iter().find(|command| !command.has_path())
    {
        notes.problem_with(
            &rule.paths,
            format!(
                "no path is looked for in {command}, so that the rule never applies to it: leave {} \
                 out, or the paths",
                command
            ),
        );
    }
}

/// A rule behind one that applies wherever it would is never asked.
fn check_reach(rule: &RuleFile, earlier: &[RuleFile], notes: &Notes) {
    let is_sound = |rule: &RuleFile| {
        rule.name.key.strip_suffix(".name").is_some_and(|key| !notes.complained_below(key))
    };
    if !is_sound(rule) {
        return;
    }
    let covers = |other: &&RuleFile| {
        let (one, two) = (&other.rule, &rule.rule);
        let listeners = !one.listeners.is_given() || one.listeners == two.listeners;
        let alike = allows(&one.rule.verdict) == allows(&two.rule.verdict);
        listeners && covers(&one.rule.when, &two.rule.when, alike) && is_sound(other)
    };
    if let Some(other) = earlier.iter().find(covers) {
        notes.problem_with(
            &rule.name,
            format!(
                "never applies, for rule `{}` above applies wherever it would: write it above that \
                 one, or leave it out",
                other.name.value
            ),
        );
    }
}

fn allows(verdict: &RuleVerdict) -> bool {
    match verdict {
        RuleVerdict::Allow => true,
        RuleVerdict::Refuse(_) | RuleVerdict::Close(_) => false,
    }
}

/// True if `one` applies wherever `two` does, as far as lists show that are missing or the same.
/// `alike`: both allow, or neither; only then are the same paths the same to them.
fn covers(one: &When, two: &When, alike: bool) -> bool {
    fn wider<T: PartialEq>(one: &Among<T>, two: &Among<T>) -> bool {
        !one.is_given() || one == two
    }
    fn wider_choice<T: PartialEq>(one: Option<&T>, two: Option<&T>) -> bool {
        one.is_none() || one == two
    }
    let commands = match (&one.commands, &two.commands) {
        (one, two) if one == two => true,
        (Among::Any, Among::Of(commands)) => !commands.iter().any(CommandPattern::is_basic),
        (Among::Any, Among::Except(_)) => true,
        (Among::Any | Among::Of(_) | Among::Except(_), _) => false,
    };
    let paths =
        !one.paths.is_given() || (alike && one.paths == two.paths && one.commands == two.commands);
    wider(&one.clients, &two.clients)
        && wider(&one.servers, &two.servers)
        && wider(&one.users, &two.users)
        && wider_choice(one.tls.as_ref(), two.tls.as_ref())
        && wider_choice(one.logged_in.as_ref(), two.logged_in.as_ref())
        && wider_choice(one.data_private.as_ref(), two.data_private.as_ref())
        && commands
        && paths
}
