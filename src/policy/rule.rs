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
        let asked = Asked::new(verb, argument);
        let asks = self.when.paths.is_given() && self.when.is_about(asked) && asked.has_path();
        asks && !asked.names_from_root()
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
        let readings = match asked.name() {
            Some(name) => Readings::of(directory, name),
            None => Readings::of_servers_choice(directory),
        };
        let lost = subject.directory.is_none() && !asked.names_from_root() || asked.names_a_home();
        let allows = matches!(self.verdict, RuleVerdict::Allow);
        // Where it lies is not known: where the rule refuses, and not where it allows.
        let unknown = matches!(paths, Among::Of(_)) != allows;
        let holds = |path: &[u8]| {
            paths.holds(|pattern| match lost && (!pattern.is_about_last_part() || path == b"/") {
                true => unknown,
                false => pattern.matches(path),
            })
        };
        if allows { readings.iter().all(holds) } else { readings.iter().any(holds) }
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
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn subject() -> Subject<'static> {
        Subject {
            client: "192.0.2.2".parse().unwrap(),
            server: Some("198.51.100.2".parse().unwrap()),
            server_name: Some("ftp.example"),
            user: Some(b"bob"),
            logged_in: true,
            tls: Some(TlsState::Clear),
            data_private: Some(false),
            directory: Some(b"/home"),
        }
    }

    fn rule(when: When, verdict: RuleVerdict) -> Rule {
        Rule { name: "a rule".into(), when, verdict }
    }

    fn refuse() -> RuleVerdict {
        RuleVerdict::Refuse(OwnReply::new(550, "No.").unwrap())
    }

    fn commands(texts: &[&str]) -> Vec<CommandPattern> {
        texts.iter().map(|text| CommandPattern::parse(text).unwrap()).collect()
    }

    fn paths(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::path(text).unwrap()).collect()
    }

    fn answered(rules: &[Rule], subject: &Subject<'_>, line: &str) -> Option<RuleVerdict> {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let question = Question::Command { verb: verb.as_bytes(), argument: argument.as_bytes() };
        let policy = Policy { rules: rules.to_vec(), ..Policy::default() };
        policy.judge(subject, &question).map(|rule| rule.verdict.clone())
    }

    #[test]
    fn the_first_rule_that_applies_answers() {
        let allowed = When { commands: Among::Of(commands(&["DELE"])), ..When::default() };
        let tight = When { commands: Among::Of(commands(&["DELE", "RMD"])), ..When::default() };
        let rules = [rule(allowed, RuleVerdict::Allow), rule(tight, refuse())];
        assert_eq!(answered(&rules, &subject(), "DELE a"), Some(RuleVerdict::Allow));
        assert_eq!(answered(&rules, &subject(), "XRMD a"), Some(refuse()));
        assert_eq!(answered(&rules, &subject(), "RETR a"), None);
    }

    #[test]
    fn every_condition_has_to_hold() {
        let networks = vec![Network::new("192.0.2.0".parse().unwrap(), 24).unwrap()];
        let base = When { clients: Among::Of(networks.clone()), ..When::default() };
        let holds = [
            base.clone(),
            When { users: Among::Of(vec![Pattern::name("B*").unwrap()]), ..base.clone() },
            When { tls: Some(vec![TlsState::Clear]), ..base.clone() },
            When { logged_in: Some(true), data_private: Some(false), ..base.clone() },
        ];
        let fails = [
            When { clients: Among::Except(networks), ..When::default() },
            When { users: Among::Except(vec![Pattern::name("bob").unwrap()]), ..base.clone() },
            When { tls: Some(vec![TlsState::Secured, TlsState::Cleared]), ..base.clone() },
            When { logged_in: Some(false), ..base.clone() },
            When { data_private: Some(true), ..base },
        ];
        for when in holds {
            assert!(answered(&[rule(when.clone(), refuse())], &subject(), "RETR a").is_some());
        }
        for when in fails {
            assert!(answered(&[rule(when.clone(), refuse())], &subject(), "RETR a").is_none());
        }
    }

    #[test]
    fn what_is_not_known_yet_is_no_ground_for_an_answer() {
        let unknown =
            Subject { server: None, user: None, tls: None, data_private: None, ..subject() };
        let name = || vec![Pattern::name("bob").unwrap()];
        let server =
            || vec![BypassEntry::Network(Network::new("0.0.0.0".parse().unwrap(), 0).unwrap())];
        for when in [
            When { users: Among::Of(name()), ..When::default() },
            When { users: Among::Except(name()), ..When::default() },
            When { servers: Among::Of(server()), ..When::default() },
            When { servers: Among::Except(server()), ..When::default() },
            When { tls: Some(vec![TlsState::Clear]), ..When::default() },
            When { data_private: Some(false), ..When::default() },
        ] {
            assert_eq!(answered(&[rule(when, refuse())], &unknown, "RETR a"), None);
        }
    }

    #[test]
    fn connecting_is_judged_by_what_is_known_then() {
        let everything = rule(When::default(), refuse());
        let users = When { users: Among::Of(vec![Pattern::name("*").unwrap()]), ..When::default() };
        assert!(everything.applies(&subject(), &Question::Connect));
        assert!(!rule(users, refuse()).applies(&subject(), &Question::Connect));
    }

    #[test]
    fn a_rule_leaves_alone_what_a_session_needs_unless_it_names_it() {
        let only = When { commands: Among::Except(commands(&["RETR"])), ..When::default() };
        for needed in ["USER bob", "PASS x", "AUTH TLS", "PASV", "QUIT", "PWD", "RETR a"] {
            assert_eq!(answered(&[rule(only.clone(), refuse())], &subject(), needed), None);
        }
        for other in ["LIST", "CWD a", "SITE x", "XYZZY"] {
            assert!(answered(&[rule(only.clone(), refuse())], &subject(), other).is_some());
        }
        let everything = [rule(When::default(), refuse())];
        assert!(answered(&everything, &subject(), "USER bob").is_some());
        assert!(answered(&everything, &subject(), "AUTH TLS").is_none());
        let named = When { commands: Among::Of(commands(&["AUTH"])), ..When::default() };
        assert!(answered(&[rule(named, refuse())], &subject(), "AUTH TLS").is_some());
    }

    #[test]
    fn paths_are_those_that_the_client_means() {
        let secret = When { paths: Among::Of(paths(&["/secret/**"])), ..When::default() };
        let rules = [rule(secret, refuse())];
        for inside in ["RETR /secret/a", "DELE ../secret/a", r"RNTO ..\secret\a", "MDTM /secret/a"]
        {
            assert!(answered(&rules, &subject(), inside).is_some(), "{inside}");
        }
        for outside in ["RETR a", "LIST /secret/a", "NOOP", "SITE CHMOD 777 /secret/a"] {
            assert!(answered(&rules, &subject(), outside).is_none(), "{outside}");
        }
        let listed = When {
            paths: Among::Of(paths(&["/secret", "/secret/**"])),
            commands: Among::Of(commands(&["LIST", "CWD"])),
            ..When::default()
        };
        assert!(answered(&[rule(listed, refuse())], &subject(), "LIST -la /secret").is_some());
    }

    #[test]
    fn a_name_in_an_unknown_directory_may_be_any_file() {
        let lost = Subject { directory: None, ..subject() };
        let public = || When { paths: Among::Of(paths(&["/pub/**"])), ..When::default() };
        let allowed = [rule(public(), RuleVerdict::Allow), rule(When::default(), refuse())];
        let refused = [rule(public(), refuse())];
        for unknown in ["RETR a", "RETR ../pub/a", "STOU", r"RETR \pub\a", "RETR 'A.B'"] {
            assert_eq!(answered(&allowed, &lost, unknown), Some(refuse()), "{unknown}");
            assert!(answered(&refused, &lost, unknown).is_some(), "{unknown}");
        }
        assert_eq!(answered(&allowed, &lost, "RETR /pub/a"), Some(RuleVerdict::Allow));
        assert!(answered(&refused, &lost, "RETR /a").is_none());
    }

    #[test]
    fn the_home_of_a_user_may_be_anywhere() {
        let public = || When { paths: Among::Of(paths(&["/pub/**"])), ..When::default() };
        let other = || When { paths: Among::Except(paths(&["/home/**"])), ..When::default() };
        for home in ["RETR ~/a", "RETR ~bob/a", "STOR ~"] {
            let allowed = [rule(public(), RuleVerdict::Allow)];
            assert_eq!(answered(&allowed, &subject(), home), None, "{home}");
            assert!(answered(&[rule(public(), refuse())], &subject(), home).is_some(), "{home}");
            assert!(answered(&[rule(other(), refuse())], &subject(), home).is_some(), "{home}");
        }
    }

    #[test]
    fn a_pattern_on_last_parts_needs_no_directory() {
        let lost = Subject { directory: None, ..subject() };
        let programs = || When { paths: Among::Of(paths(&["*.exe"])), ..When::default() };
        let others = || When { paths: Among::Except(paths(&["*.txt"])), ..When::default() };
        for (line, refused) in
            [("RETR a.exe", true), ("RETR ../a.exe", true), ("RETR a.txt", false)]
        {
            assert_eq!(
                answered(&[rule(programs(), refuse())], &lost, line).is_some(),
                refused,
                "{line}"
            );
            assert_eq!(
                answered(&[rule(others(), refuse())], &lost, line).is_some(),
                refused,
                "{line}"
            );
        }
        assert!(
            answered(&[rule(programs(), refuse())], &lost, "DELE ..").is_some(),
            "any last part"
        );
    }

    #[test]
    fn the_directory_is_asked_for_where_it_decides() {
        let secret =
            rule(When { paths: Among::Of(paths(&["/secret/**"])), ..When::default() }, refuse());
        for decides in ["RETR a", "DELE ../a", "STOU"] {
            let (verb, argument) = decides.split_once(' ').unwrap_or((decides, ""));
            assert!(secret.depends_on_directory(verb.as_bytes(), argument.as_bytes()), "{decides}");
        }
        for same in ["RETR /a", "LIST a", "NOOP"] {
            let (verb, argument) = same.split_once(' ').unwrap_or((same, ""));
            assert!(!secret.depends_on_directory(verb.as_bytes(), argument.as_bytes()), "{same}");
        }
    }

    #[test]
    fn an_ambiguous_path_is_never_allowed_by_one_reading_of_it() {
        let public = When { paths: Among::Of(paths(&["/pub/**"])), ..When::default() };
        let other = When { paths: Among::Except(paths(&["/pub/**"])), ..When::default() };
        for ambiguous in [r"RETR /pub/..\etc", r"RETR /x\../pub/a"] {
            assert_eq!(
                answered(&[rule(public.clone(), RuleVerdict::Allow)], &subject(), ambiguous),
                None
            );
            assert!(answered(&[rule(other.clone(), refuse())], &subject(), ambiguous).is_some());
        }
    }

    #[test]
    fn a_reply_is_one_line_that_refuses() {
        assert_eq!(&OwnReply::new(550, "Not here.").unwrap().line()[..], b"550 Not here.\r\n");
        let farewell = OwnReply::new(550, "Not here.").unwrap().as_farewell();
        assert_eq!(&farewell[..], b"421 Not here.\r\n");
        for (code, text) in [(200, "ok"), (600, "x"), (550, ""), (550, "a\r\nb"), (550, "\u{e4}")] {
            assert_eq!(OwnReply::new(code, text), None);
        }
    }
}
