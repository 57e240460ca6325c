//! Verbs that look like slips. Servers have private commands, and whoever writes a policy has to be able to
//! refuse every one of them: so they are taken as they stand, and told of.

use super::PolicyConfig;
use crate::config::value;
use crate::ftp::Verb;
use crate::policy::{Among, CommandPattern};

/// What people and other programs call commands that FTP calls otherwise.
const OTHER_NAMES: [(&str, &str); 11] = [
    ("CD", "CWD"),
    ("DIR", "LIST"),
    ("GET", "RETR"),
    ("LS", "NLST"),
    ("MKDIR", "MKD"),
    ("MV", "RNFR"),
    ("PUT", "STOR"),
    ("REN", "RNFR"),
    ("RENAME", "RNFR"),
    ("RM", "DELE"),
    ("RMDIR", "RMD"),
];

/// Verbs that servers have, and that only look like slips: what PASV will be for, removing a tree, a PASV
/// without an address (Pure-FTPd).
const PRIVATE: [&str; 3] = ["PRET", "RMDA", "SPSV"];

impl PolicyConfig {
    /// A sentence on each verb in its lists and rules that is probably another one.
    pub fn doubtful_commands(&self) -> Vec<String> {
        let of_rules = self.rules.iter().filter_map(|rule| match &rule.rule.when.commands {
            Among::Any => None,
            Among::Of(commands) | Among::Except(commands) => Some(commands),
        });
        let lists = [&self.deny, &self.allow_only].into_iter().chain(of_rules);
        let mut told = Vec::new();
        for verb in lists.flatten().filter_map(|command| command.words().first()) {
            let Some(meant) = meant(verb) else { continue };
            let sentence = format!(
                "FTP has no command {verb}, which is taken as it stands: did you mean {meant}?"
            );
            if !told.contains(&sentence) {
                told.push(sentence);
            }
        }
        told
    }
}

/// The command that somebody probably means who asks about `verb`, if that is none of FTP.
pub fn command_meant(verb: &str) -> Option<&'static str> {
    meant(CommandPattern::parse(verb)?.words().first()?)
}

/// The command that somebody probably means who writes `verb`, in capitals.
fn meant(verb: &str) -> Option<&'static str> {
    let known: Vec<&str> = Verb::ALL.iter().map(|verb| verb.label()).collect();
    if known.contains(&verb) || PRIVATE.contains(&verb) {
        return None;
    }
    if let Some((_, name)) = OTHER_NAMES.iter().find(|(other, _)| *other == verb) {
        return Some(name);
    }
    // The private ones with digits are other sums and versions.
    if verb.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let longer = known.iter().find(|name| name.len() > 2 && verb.starts_with(**name));
    let near = || value::nearest(verb, &known);
    longer.copied().or_else(near).filter(|name| *name != Verb::Other.label())
}
