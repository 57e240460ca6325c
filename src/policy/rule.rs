//! One rule of a policy: when it applies, and what it says.

use super::bypass::{BypassEntry, Network};
use super::command::{Asked, CommandPattern};
use super::path::Readings;
use super::pattern::Pattern;
use super::question::{Question, Subject, TlsState};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// A rule. The first one of a policy that applies to a question answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What logs and `check --explain` call it.
    pub name: Arc<str>,
    /// When it applies.
    pub when: When,
    /// What it says.
    pub verdict: RuleVerdict,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleVerdict {
    /// It may pass, whatever later rules say.
    Allow,
    /// It may not; the client gets this reply in the server's place.
    Refuse(OwnReply),
    /// The session ends, with this reply where one can be given.
    Close(OwnReply),
}

/// When a rule applies: where all of its conditions hold. Those that are not given always do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// The client's address.
    pub clients: Among<Network>,
    /// The server's address or name.
    pub servers: Among<BypassEntry>,
    /// The name that the client logs in with.
    pub users: Among<Pattern>,
    /// The protection of the client's control connection.
    pub tls: Option<Vec<TlsState>>,
    /// True: after the login; false: before it.
    pub logged_in: Option<bool>,
    /// True: while data connections are private (PROT P); false: while they are known not to be.
    pub data_private: Option<bool>,
    /// The command. Without it the rule is about connecting, logging in, and every command but those
    /// that a session begins and ends with, secures itself and agrees on data connections.
    pub commands: Among<CommandPattern>,
    /// The path of the file. Without commands the rule is about those that name a file.
    pub paths: Among<Pattern>,
}

/// A condition on one value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Among<T> {
    /// It is not given.
    #[default]
    Any,
    /// One of these.
    Of(Vec<T>),
    /// None of these.
    Except(Vec<T>),
}

impl<T> Among<T> {
    /// True if the condition is given.
    pub fn is_given(&self) -> bool {
        !matches!(self, Self::Any)
    }

    /// True if the condition holds for the value that `is` compares with.
    pub fn holds(&self, mut is: impl FnMut(&T) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Of(entries) => entries.iter().any(&mut is),
            Self::Except(entries) => !entries.iter().any(&mut is),
        }
    }
}

/// A reply of one line that the owner has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnReply {
    line: Bytes,
}

/// The longest text of a reply, in bytes: what fits on a line of a terminal, and on any of FTP.
const LONGEST_TEXT: usize = 200;

impl OwnReply {
    /// The reply with this code and text. `None` if the code refuses nothing (RFC 959 §4.2: 4yz, 5yz)
    /// or the text is more than one line of printable ASCII.
    pub fn new(code: u16, text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let fits = (1..=LONGEST_TEXT).contains(&text.len());
        ((400..600).contains(&code) && printable && fits)
            .then(|| Self { line: Bytes::from(format!("{code} {text}\r\n")) })
    }

    /// The same words as the last ones of a session that has none before: 421, the only code that
    /// RFC 959 §5.4 has for that.
    pub fn as_farewell(&self) -> Bytes {
        let text = self.line.get(3..).unwrap_or_default();
        [b"421", text].concat().into()
    }

    /// The whole line with its end.
    pub fn line(&self) -> &Bytes {
        &self.line
    }
}

impl fmt::Display for OwnReply {
    /// Without the end of the line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.line.trim_ascii_end()).fmt(f)
    }
}

impl Default for OwnReply {
    /// No, without a reason.
    fn default() -> Self {
        Self { line: Bytes::from_static(b"550 Refused.\r\n") }
    }
}

impl Rule {
    /// True if it answers `question` about `subject`.
    pub(super) fn applies(&self, subject: &Subject<'_>, question: &Question<'_>) -> bool {
        self.obstacle(subject, question).is_none()
    }

    /// True if it asks for the path of a file that the command names from where the client is.
    pub(super) fn depends_on_directory(&self, verb: &[u8], argument: &[u8]) -> bool {
        self.asks_for_path(verb, argument) && !Asked::new(verb, argument).names_from_root()
    }

    /// True if it asks for the path of a file that the command names.
    pub(super) fn asks_for_path(&self, verb: &[u8], argument: &[u8]) -> bool {
        let asked = Asked::new(verb, argument);
        self.when.paths.is_given() && self.when.is_about(asked) && asked.has_path()
    }

    /// What one reading of a path allows another may not: a rule that allows holds for all of them, any
    /// other one for one of them.
    pub(super) fn holds_for_path(&self, subject: &Subject<'_>, asked: Asked<'_>) -> bool {
        let paths = &self.when.paths;
        if !paths.is_given() {
            return true;
        }
        if !asked.has_path() {
            return false;
        }
        let directory = subject.directory.unwrap_or_default();
        let names = asked.names();
        let readings: Vec<_> = names.iter().map(|name| Readings::of(directory, name)).collect();
        let mut readings = readings.iter().flat_map(Readings::iter);
        let lost =
            subject.directory.is_none() && !asked.names_from_root() || asked.may_name_anything();
        let allows = matches!(self.verdict, RuleVerdict::Allow);
        // Where it lies is not known: where the rule refuses, and not where it allows.
        let unknown = matches!(paths, Among::Of(_)) != allows;
        let holds = |path: &[u8]| {
            paths.holds(|pattern| match lost && (!pattern.is_about_last_part() || path == b"/") {
                true => unknown,
                false => pattern.matches(path),
            })
        };
        if allows {
            return readings.all(holds);
        }
        // Who renames a folder gives other names to all that is in it.
        let moves = |path: &[u8]| match paths {
            Among::Of(patterns) if asked.renames() => {
                patterns.iter().any(|pattern| pattern.lies_below(path))
            }
            _ => false,
        };
        readings.any(|path| holds(path) || moves(path))
    }
}

impl When {
    /// True if nothing is asked for that shows only later.
    pub fn is_about_connecting(&self) -> bool {
        !self.users.is_given()
            && self.tls.is_none()
            && self.logged_in.is_none()
            && self.data_private.is_none()
            && !self.commands.is_given()
            && !self.paths.is_given()
    }

    /// True if the rule is about this command, whatever its path.
    pub(super) fn is_about(&self, asked: Asked<'_>) -> bool {
        match &self.commands {
            Among::Any if self.paths.is_given() => asked.names_a_file(),
            Among::Any => !asked.is_basic(),
            Among::Of(patterns) => patterns.iter().any(|pattern| pattern.matches(asked)),
            Among::Except(patterns) => {
                let needed = asked.is_basic() || asked.logs_in();
                !needed && !patterns.iter().any(|pattern| pattern.matches(asked))
            }
        }
    }
}

#[cfg(test)]
mod tests;
