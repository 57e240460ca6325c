//! Single values of policies.

use super::super::tree::Node;
use super::super::value::{self, scalar};
use super::super::value_tls::each;
use crate::ftp::Verb;
use crate::policy::{CommandPattern, OwnReply, Pattern, PatternError};

/// What people and other programs call commands that FTP calls otherwise.
const OTHER_NAMES: [(&str, &str); 12] = [
    ("CD", "CWD"),
    ("CHMOD", "SITE CHMOD"),
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

/// Verbs that servers have, and that only look like slips: what PASV will be for, removing a tree.
const PRIVATE: [&str; 2] = ["PRET", "RMDA"];

/// Commands, each a verb or a verb with the words behind it.
pub(super) fn commands(node: &Node) -> Result<Vec<CommandPattern>, String> {
    const WANTED: &str = "a list of commands, for example [DELE, SITE EXEC]";
    each(node, WANTED, |text| {
        let shown = text.escape_debug();
        let command = CommandPattern::parse(text)
            .ok_or_else(|| format!("`{shown}` is no command: write {WANTED}"))?;
        match meant(command.words().first().map_or("", String::as_str)) {
            None => Ok(command),
            Some(meant) => Err(format!("FTP has no command `{shown}`: did you mean {meant}?")),
        }
    })
}

/// The command that somebody probably means who asks about `verb`, if that is none of FTP.
pub fn command_meant(verb: &str) -> Option<&'static str> {
    meant(CommandPattern::parse(verb)?.words().first()?)
}

/// The command that somebody probably means who writes `verb`, in capitals. Unknown verbs are let be otherwise, for
/// servers have private ones.
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

/// Patterns on the names of users.
pub(super) fn users(node: &Node) -> Result<Vec<Pattern>, String> {
    patterns(node, "a list of names, for example [bob, \"test-*\"]", Pattern::name)
}

/// Patterns on paths.
pub(super) fn paths(node: &Node, ignore_case: bool) -> Result<Vec<Pattern>, String> {
    const WANTED: &str = "a list of paths, for example [\"/secret/**\", \"*.exe\"]";
    let parse = if ignore_case { Pattern::path_in_any_case } else { Pattern::path };
    let patterns = patterns(node, WANTED, parse)?;
    let relative = |text: &String| text.contains('/') && !text.starts_with(['/', '*']);
    match patterns.iter().map(ToString::to_string).find(relative) {
        None => Ok(patterns),
        Some(text) => Err(format!(
            "`{}` would match nothing, for paths begin with `/`: write \"/{0}\", or \"**/{0}\" for \
             wherever it lies",
            text.escape_debug()
        )),
    }
}

fn patterns(
    node: &Node,
    wanted: &str,
    parse: impl Fn(&str) -> Result<Pattern, PatternError>,
) -> Result<Vec<Pattern>, String> {
    each(node, wanted, |text| {
        let shown = text.escape_debug();
        parse(text).map_err(|error| format!("`{shown}` {error}: write {wanted}"))
    })
}

/// Names of listeners.
pub(super) fn listeners(node: &Node) -> Result<Vec<String>, String> {
    each(node, "a list of names of listeners", |text| Ok(text.to_owned()))
}

/// A reply of one line.
pub(super) fn reply(node: &Node) -> Result<OwnReply, String> {
    const WANTED: &str = "a code from 400 to 599 and a text of at most 200 printable ASCII \
                          characters, for example \"550 Not here.\"";
    let text = scalar(node, WANTED)?;
    let (code, words) = text.split_once(' ').unwrap_or((&text, ""));
    code.parse()
        .ok()
        .filter(|_| code.len() == 3)
        .and_then(|code| OwnReply::new(code, words))
        .ok_or_else(|| {
            format!("`{}` is no reply that refuses: write {WANTED}", text.escape_debug())
        })
}
