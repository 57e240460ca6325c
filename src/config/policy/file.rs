//! The keys of a policy, each with its default.

use super::check::KEYS;
use super::compile::default_reply;
use super::value as own;
use super::{
    CccChoice, DataProtection, FxpChoice, PathLists, Permission, PolicyConfig, Profile, RuleConfig,
};
use crate::config::section::{Found, Section};
use crate::config::tree::Node;
use crate::config::{value, value_tls};
use crate::policy::bypass::Network;
use crate::policy::{Among, CommandPattern, Pattern, Rule, RuleVerdict, TlsState, When};

/// The most rules of a policy: each is looked at for every command of a session.
const MOST_RULES: usize = 256;

/// A policy as read, with what is checked as a whole.
pub(in crate::config) struct PolicyFile {
    pub(super) name: String,
    /// The dotted key of the whole.
    pub(super) section: String,
    /// The keys that rules are called like.
    keys: Vec<(&'static str, Found<()>)>,
    pub(super) config: PolicyConfig,
    pub(super) deny: Found<Vec<CommandPattern>>,
    pub(super) fxp: Found<FxpChoice>,
    pub(super) fxp_peers: Found<Vec<Network>>,
    /// Those of `config.rules`, in their order.
    pub(super) rules: Vec<RuleFile>,
}

/// A rule as read.
pub(super) struct RuleFile {
    pub(super) name: Found<String>,
    pub(super) listeners: Found<Among<String>>,
    /// Of `rule`, for their place.
    pub(super) paths: Found<Among<Pattern>>,
    pub(super) rule: RuleConfig,
}

const PERMISSION: &[(&str, Permission)] =
    &[("allow", Permission::Allow), ("refuse", Permission::Refuse)];

impl PolicyFile {
    pub(in crate::config) fn read(name: &str, mut section: Section<'_>) -> Self {
        const PROFILE: &[(&str, Profile)] = &[
            ("all", Profile::All),
            ("read_only", Profile::ReadOnly),
            ("upload_only", Profile::UploadOnly),
        ];
        const FXP: &[(&str, FxpChoice)] = &[
            ("never", FxpChoice::Never),
            ("same_net", FxpChoice::SameNet),
            ("listed", FxpChoice::Listed),
        ];
        const DATA: &[(&str, DataProtection)] =
            &[("any", DataProtection::Any), ("private", DataProtection::Private)];
        const CCC: &[(&str, CccChoice)] = &[
            ("allow", CccChoice::Allow),
            ("refuse", CccChoice::Refuse),
            ("after_login", CccChoice::AfterLogin),
        ];
        let default = PolicyConfig::default();
        let keys = KEYS.iter().map(|key| (*key, section.found(key))).collect();
        let paths = path_lists(section.section("paths"));
        let deny = section.read("deny", own::commands, default.deny);
        let fxp = section.read("fxp", value::choice(FXP), default.fxp);
        let fxp_peers = section.read("fxp_peers", value_tls::networks, default.fxp_peers);
        let rules = rules(&mut section, paths.ignore_case);
        let config = PolicyConfig {
            strict: section.read("strict", value::boolean, default.strict).value,
            low_ports: section.read("low_ports", value::boolean, default.low_ports).value,
            profile: section.read("profile", value::choice(PROFILE), default.profile).value,
            deny: deny.value.clone(),
            allow_only: section.read("allow_only", own::commands, default.allow_only).value,
            paths,
            anonymous: section
                .read("anonymous", value::choice(PERMISSION), default.anonymous)
                .value,
            servers: section.read("servers", value_tls::bypass, default.servers).value,
            active: section.read("active", value::choice(PERMISSION), default.active).value,
            fxp: fxp.value,
            fxp_peers: fxp_peers.value.clone(),
            data_protection: section
                .read("data_protection", value::choice(DATA), default.data_protection)
                .value,
            ccc: section.read("ccc", value::choice(CCC), default.ccc).value,
            rules: rules.iter().map(|rule| rule.rule.clone()).collect(),
        };
        let whole = section.key().to_owned();
        section.finish();
        Self { name: name.to_owned(), section: whole, keys, config, deny, fxp, fxp_peers, rules }
    }

    pub(in crate::config) fn into_config(self) -> PolicyConfig {
        self.config
    }

    pub(in crate::config) fn name(&self) -> &str {
        &self.name
    }

    /// The key that the rule of this name stands for; `None` for the owner's own rules.
    pub(super) fn key_of(&self, rule: &str) -> Option<&Found<()>> {
        self.keys.iter().find(|(key, _)| *key == rule).map(|(_, found)| found)
    }
}

fn path_lists(mut section: Section<'_>) -> PathLists {
    let default = PathLists::default();
    let ignore_case = section.read("ignore_case", value::boolean, default.ignore_case).value;
    let lists = PathLists {
        deny: section.read("deny", |node| own::paths(node, ignore_case), default.deny).value,
        allow_only: section
            .read("allow_only", |node| own::paths(node, ignore_case), default.allow_only)
            .value,
        ignore_case,
    };
    section.finish();
    lists
}

fn rules(section: &mut Section<'_>, ignore_case: bool) -> Vec<RuleFile> {
    let Some(sections) = section.optional_list("rules") else { return Vec::new() };
    if sections.len() > MOST_RULES {
        section
            .problem("rules", format!("has {} rules: write at most {MOST_RULES}", sections.len()));
    }
    sections.into_iter().map(|section| rule(section, ignore_case)).collect()
}

/// What a rule says, without its reply.
#[derive(Clone, Copy)]
enum Said {
    Allow,
    Refuse,
    Close,
}

fn rule(mut section: Section<'_>, ignore_case: bool) -> RuleFile {
    const VERDICT: &[(&str, Said)] =
        &[("allow", Said::Allow), ("refuse", Said::Refuse), ("close", Said::Close)];
    let name = section.read("name", value::name, String::new());
    if name.good().is_some_and(String::is_empty) {
        section.problem("name", "has no name: write one, for logs and `ftpgate check --explain`");
    }
    let (listeners, paths, when) = matching(section.section("match"), ignore_case);
    let said = section.read("verdict", |node| value::choice(VERDICT)(node).map(Some), None);
    if let Some(None) = said.good() {
        section.problem("verdict", "has no verdict: write allow, refuse or close");
    }
    let reply = section.read("reply", |node| own::reply(node).map(Some), None);
    let written = reply.value.is_some();
    let or_default = |closes| match reply.value.clone() {
        Some(reply) => reply,
        None => default_reply(&when, closes),
    };
    let verdict = match said.value {
        Some(Said::Allow) if written => {
            section.problem("reply", "the server answers what is allowed: leave it out");
            RuleVerdict::Allow
        }
        Some(Said::Allow) | None => RuleVerdict::Allow,
        Some(Said::Refuse) => RuleVerdict::Refuse(or_default(false)),
        Some(Said::Close) => RuleVerdict::Close(or_default(true)),
    };
    section.finish();
    let rule = Rule { name: name.value.as_str().into(), when, verdict };
    let rule = RuleConfig { listeners: listeners.value.clone(), rule };
    RuleFile { name, listeners, paths, rule }
}

fn matching(
    mut section: Section<'_>,
    ignore_case: bool,
) -> (Found<Among<String>>, Found<Among<Pattern>>, When) {
    const TLS: &[(&str, TlsState)] = &[
        ("clear", TlsState::Clear),
        ("secured", TlsState::Secured),
        ("cleared", TlsState::Cleared),
    ];
    const LOGIN: &[(&str, bool)] = &[("before", false), ("after", true)];
    const DATA: &[(&str, bool)] = &[("clear", false), ("private", true)];
    let listeners = among(&mut section, ["listener", "not_listener"], own::listeners);
    let path = |node: &Node| own::paths(node, ignore_case);
    let paths = among(&mut section, ["path", "not_path"], path);
    let tls = section.read("tls", value::choices(TLS), Vec::new()).value;
    let when = When {
        clients: among(&mut section, ["client", "not_client"], value_tls::networks).value,
        servers: among(&mut section, ["server", "not_server"], value_tls::bypass).value,
        users: among(&mut section, ["user", "not_user"], own::users).value,
        tls: (!tls.is_empty()).then_some(tls),
        logged_in: section.read("login", value_tls::optional_choice(LOGIN), None).value,
        data_private: section.read("data", value_tls::optional_choice(DATA), None).value,
        commands: among(&mut section, ["command", "not_command"], own::commands).value,
        paths: paths.value.clone(),
    };
    section.finish();
    (listeners, paths, when)
}

/// The condition under two keys: one of these, none of these.
fn among<T>(
    section: &mut Section<'_>,
    [of, except]: [&'static str; 2],
    parse: impl Fn(&Node) -> Result<Vec<T>, String>,
) -> Found<Among<T>> {
    let these = section.read(of, &parse, Vec::new());
    let not_these = section.read(except, &parse, Vec::new());
    match (these.value.is_empty(), not_these.value.is_empty()) {
        (false, false) => {
            section.problem(except, format!("stands beside `{of}`: write one of them"));
            these.map(|_| Among::Any)
        }
        (false, true) => these.map(Among::Of),
        (true, false) => not_these.map(Among::Except),
        (true, true) => these.map(|_| Among::Any),
    }
}
