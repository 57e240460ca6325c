//! The rules of a policy in the order in which they are asked: the owner's own, then one or more for
//! each of the other keys, all of which refuse.

use super::{CccChoice, DataProtection, FxpChoice, Permission, PolicyConfig, Profile, RuleConfig};
use crate::policy::{
    Among, CommandPattern, ENCLOSED, Fxp, OwnReply, Pattern, Policy, READ_ONLY, Rule, RuleVerdict,
    UPLOAD_ONLY, When,
};

/// The rule that refuses lines which hold an unreadable command, where any command is judged.
pub(super) const ENCLOSED_RULE: &str = "enclosed";

/// The commands that use a data connection.
pub(super) const TRANSFERS: [&str; 7] = ["APPE", "LIST", "MLSD", "NLST", "RETR", "STOR", "STOU"];

impl PolicyConfig {
    /// What the sessions of the listener with this name are judged by.
    pub fn compile(&self, listener: &str) -> Policy {
        let rules = self.all_rules().into_iter();
        let here = |rule: &RuleConfig| rule.listeners.holds(|name| name == listener);
        Policy {
            strict: self.strict,
            low_ports: self.low_ports,
            fxp: match self.fxp {
                FxpChoice::Never => Fxp::Never,
                FxpChoice::SameNet => Fxp::SameNet,
                FxpChoice::Listed => Fxp::Listed(self.fxp_peers.clone()),
            },
            rules: rules.filter(here).map(|rule| rule.rule).collect(),
        }
    }

    /// All rules in order; those behind the owner's own are called like the key that they stand for.
    pub fn all_rules(&self) -> Vec<RuleConfig> {
        let keys = self.key_rules().into_iter();
        let keys = keys.map(|rule| RuleConfig { listeners: Among::Any, rule });
        self.rules.iter().cloned().chain(keys).collect()
    }

    /// True if a rule is about commands, which are not seen inside TLS that does not end here.
    pub fn judges_commands(&self) -> bool {
        let rules = self.all_rules();
        rules.iter().any(|rule| !rule.rule.when.is_about_connecting())
    }

    fn key_rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut add = |name: &str, when: When, verdict: RuleVerdict| {
            rules.push(Rule { name: name.into(), when, verdict });
        };
        if !self.servers.is_empty() {
            let when = When { servers: Among::Except(self.servers.clone()), ..When::default() };
            add("servers", when, close(421, "This server is not served here."));
        }
        if self.anonymous == Permission::Refuse {
            let users = ["anonymous", "ftp"].iter().filter_map(|name| Pattern::name(name).ok());
            let when = When { users: Among::Of(users.collect()), ..about(&["USER"]) };
            add("anonymous", when, refuse(530, "Anonymous logins are refused."));
        }
        match self.ccc {
            CccChoice::Allow => {}
            CccChoice::Refuse => {
                add("ccc", about(&["CCC"]), refuse(534, "CCC is refused here."));
            }
            CccChoice::AfterLogin => {
                let when = When { logged_in: Some(false), ..about(&["CCC"]) };
                add("ccc", when, refuse(533, "CCC only after the login."));
            }
        }
        if self.active == Permission::Refuse {
            let when = about(&["EPRT", "LPRT", "PORT"]);
            add("active", when, refuse(502, "No active mode here: use PASV or EPSV."));
        }
        if self.data_protection == DataProtection::Private {
            let clear = about(&["PROT C", "PROT S", "PROT E"]);
            add("data_protection", clear, refuse(534, "Only PROT P is accepted here."));
            let when = When { data_private: Some(false), ..about(&TRANSFERS) };
            let words = "Data connections have to be private here: PROT P first.";
            add("data_protection", when, refuse(521, words));
        }
        self.add_command_rules(&mut add);
        rules
    }

    fn add_command_rules(&self, add: &mut impl FnMut(&str, When, RuleVerdict)) {
        let of_commands = |commands: Among<CommandPattern>| When { commands, ..When::default() };
        let of_paths = |paths: Among<Pattern>| When { paths, ..When::default() };
        let lists = !self.deny.is_empty() || !self.allow_only.is_empty();
        let paths = !self.paths.deny.is_empty() || !self.paths.allow_only.is_empty();
        if !self.deny.is_empty() {
            let when = of_commands(Among::Of(self.deny.clone()));
            add("deny", when, refuse(502, "This command is refused here."));
        }
        if !self.allow_only.is_empty() {
            let when = of_commands(Among::Except(self.allow_only.clone()));
            add("allow_only", when, refuse(502, "This command is refused here."));
        }
        if !self.paths.deny.is_empty() {
            let when = of_paths(Among::Of(self.paths.deny.clone()));
            add("paths.deny", when, refuse(550, "This path is refused here."));
        }
        if !self.paths.allow_only.is_empty() {
            let when = of_paths(Among::Except(self.paths.allow_only.clone()));
            add("paths.allow_only", when, refuse(550, "This path is refused here."));
        }
        let profile = match self.profile {
            Profile::All => None,
            Profile::ReadOnly => Some((READ_ONLY, "Files can only be read here.")),
            Profile::UploadOnly => Some((UPLOAD_ONLY, "Files can only be stored here.")),
        };
        if let Some((commands, words)) = profile {
            let when = of_commands(Among::Except(parsed(commands)));
            add("profile", when, refuse(550, words));
        }
        if lists || paths || profile.is_some() {
            let words = "Commands have to be readable here (no MIC, CONF, ENC).";
            add(ENCLOSED_RULE, about(ENCLOSED), refuse(533, words));
        }
    }
}

fn about(commands: &[&str]) -> When {
    When { commands: Among::Of(parsed(commands)), ..When::default() }
}

/// Of the constants here, all of which are commands.
fn parsed(commands: &[&str]) -> Vec<CommandPattern> {
    commands.iter().filter_map(|text| CommandPattern::parse(text)).collect()
}

fn refuse(code: u16, words: &str) -> RuleVerdict {
    RuleVerdict::Refuse(own(code, words))
}

fn close(code: u16, words: &str) -> RuleVerdict {
    RuleVerdict::Close(own(code, words))
}

/// Of the constants here, all of which are replies.
fn own(code: u16, words: &str) -> OwnReply {
    OwnReply::new(code, words).unwrap_or_default()
}

/// What clients get where the owner has written no reply: the code that they expect where `when`
/// applies.
pub(super) fn default_reply(when: &When, closes: bool) -> OwnReply {
    let named: &[CommandPattern] = match &when.commands {
        Among::Of(commands) => commands,
        Among::Any | Among::Except(_) => &[],
    };
    let any = matches!(when.commands, Among::Any) && !when.paths.is_given();
    let all = |is: fn(&CommandPattern) -> bool| !named.is_empty() && named.iter().all(is);
    if closes || when.is_about_connecting() {
        own(421, "This is refused here; closing the connection.")
    } else if all(CommandPattern::logs_in) || (any && when.users.is_given()) {
        own(530, "This login is refused here.")
    } else if when.paths.is_given() || all(CommandPattern::has_path) {
        own(550, "This file is refused here.")
    } else {
        own(502, "This command is refused here.")
    }
}
