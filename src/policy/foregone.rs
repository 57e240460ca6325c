//! What a policy refuses to everybody, as far as that is known before the first session.

use super::bypass::BypassEntry;
use super::command::Asked;
use super::rule::{Among, Rule, RuleVerdict, When};
use super::{Policy, Question, TlsState};
use std::net::IpAddr;

/// What is known of all sessions of a listener that are logged in.
#[derive(Debug, Clone, Copy)]
pub struct Ahead<'a> {
    /// Where they lead.
    pub server: ServerAhead<'a>,
    /// How the client's control connection may be protected.
    pub tls: &'a [TlsState],
    /// Whether data connections are private; `None` where that is for the client to say.
    pub data_private: Option<bool>,
}

/// What is known of the server before a client connects.
#[derive(Debug, Clone, Copy)]
pub enum ServerAhead<'a> {
    /// It is whichever the client dials, and has no name while connecting.
    Original {
        /// It may have one later, from the client's hello.
        named_later: bool,
    },
    /// The owner says its address.
    Address(IpAddr),
    /// The owner says its name.
    Name(&'a str),
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holds {
    Never,
    Maybe,
    Always,
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Always } else { Self::Never }
    }
}

impl Policy {
    /// The rule that refuses this to every client, whoever it is and whatever it has done; `None` if
    /// somebody may get past. A rule that may allow counts as one that does, one that may refuse does not.
    pub fn refuses_everybody(&self, ahead: &Ahead<'_>, question: &Question<'_>) -> Option<&Rule> {
        for rule in &self.rules {
            match (rule.holds_ahead(ahead, question), &rule.verdict) {
                (Holds::Never, _) => {}
                (Holds::Maybe | Holds::Always, RuleVerdict::Allow) => return None,
                (Holds::Maybe, RuleVerdict::Refuse(_) | RuleVerdict::Close(_)) => {}
                (Holds::Always, RuleVerdict::Refuse(_) | RuleVerdict::Close(_)) => {
                    return Some(rule);
                }
            }
        }
        None
    }
}

impl Rule {
    fn holds_ahead(&self, ahead: &Ahead<'_>, question: &Question<'_>) -> Holds {
        let when = &self.when;
        let connecting = matches!(question, Question::Connect);
        let clients = if when.clients.is_given() { Holds::Maybe } else { Holds::Always };
        let server = when.server_ahead(ahead, connecting);
        let rest = match question {
            Question::Connect => Holds::from(when.is_about_connecting()),
            Question::Command { verb, argument } => {
                when.command_ahead(Asked::new(verb, argument)).min(when.session_ahead(ahead))
            }
        };
        clients.min(server).min(rest)
    }
}

impl When {
    fn server_ahead(&self, ahead: &Ahead<'_>, connecting: bool) -> Holds {
        let one = |entry: &BypassEntry| match (entry, ahead.server) {
            (BypassEntry::Network(network), ServerAhead::Address(address)) => {
                network.contains(address).into()
            }
            (BypassEntry::Network(_), _) => Holds::Maybe,
            (BypassEntry::Name(pattern), ServerAhead::Name(name)) => pattern.matches(name).into(),
            (BypassEntry::Name(_), ServerAhead::Original { named_later: true }) if !connecting => {
                Holds::Maybe
            }
            (BypassEntry::Name(_), _) => Holds::Never,
        };
        let any = |entries: &[BypassEntry]| entries.iter().map(one).max().unwrap_or(Holds::Never);
        match &self.servers {
            Among::Any => Holds::Always,
            Among::Of(entries) => any(entries),
            Among::Except(entries) => match any(entries) {
                Holds::Never => Holds::Always,
                Holds::Maybe => Holds::Maybe,
                Holds::Always => Holds::Never,
            },
        }
    }

    fn command_ahead(&self, asked: Asked<'_>) -> Holds {
        // `SITE CHMOD` is some of SITE.
        if let Among::Of(patterns) = &self.commands
            && !self.is_about(asked)
            && patterns.iter().any(|pattern| pattern.may_match(asked))
        {
            return Holds::Maybe;
        }
        match self.is_about(asked) {
            // Which path, nobody knows.
            true if self.paths.is_given() => Holds::from(asked.has_path()).min(Holds::Maybe),
            about => about.into(),
        }
    }

    fn session_ahead(&self, ahead: &Ahead<'_>) -> Holds {
        if self.logged_in == Some(false) {
            return Holds::Never;
        }
        let users = if self.users.is_given() { Holds::Maybe } else { Holds::Always };
        let tls = self.tls.as_ref().map_or(Holds::Always, |wanted| {
            let count = ahead.tls.iter().filter(|state| wanted.contains(state)).count();
            match count {
                0 => Holds::Never,
                some if some == ahead.tls.len() => Holds::Always,
                _ => Holds::Maybe,
            }
        });
        let data = self.data_private.map_or(Holds::Always, |wanted| {
            ahead.data_private.map_or(Holds::Maybe, |private| (private == wanted).into())
        });
        users.min(tls).min(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::bypass::{NamePattern, Network};
    use crate::policy::{CommandPattern, OwnReply, Pattern};

    const ANY: Ahead<'_> = Ahead {
        server: ServerAhead::Original { named_later: false },
        tls: &[TlsState::Clear, TlsState::Cleared],
        data_private: None,
    };

    fn refuse(when: When) -> Rule {
        let reply = OwnReply::new(550, "No.").unwrap();
        Rule { name: "no".into(), when, verdict: RuleVerdict::Refuse(reply) }
    }

    fn about(commands: &[&str]) -> When {
        let commands = commands.iter().map(|text| CommandPattern::parse(text).unwrap());
        When { commands: Among::Of(commands.collect()), ..When::default() }
    }

    /// Whether nobody may fetch.
    fn nobody(rules: Vec<Rule>, ahead: &Ahead<'_>) -> bool {
        let policy = Policy { rules, ..Policy::default() };
        let question = Question::Command { verb: b"RETR", argument: b"" };
        policy.refuses_everybody(ahead, &question).is_some()
    }

    #[test]
    fn what_depends_on_who_asks_is_not_refused_to_everybody() {
        assert!(nobody(vec![refuse(about(&["RETR"]))], &ANY));
        assert!(!nobody(vec![refuse(about(&["STOR"]))], &ANY));
        let users = Among::Of(vec![Pattern::name("bob").unwrap()]);
        let clients = Among::Of(vec![Network::new("192.0.2.0".parse().unwrap(), 24).unwrap()]);
        let paths = Among::Of(vec![Pattern::path("/x").unwrap()]);
        for when in [
            When { users, ..about(&["RETR"]) },
            When { clients, ..about(&["RETR"]) },
            When { paths, ..about(&["RETR"]) },
            When { logged_in: Some(false), ..about(&["RETR"]) },
            When { tls: Some(vec![TlsState::Clear]), ..about(&["RETR"]) },
            When { data_private: Some(false), ..about(&["RETR"]) },
            about(&["RETR x"]),
        ] {
            assert!(!nobody(vec![refuse(when.clone())], &ANY), "{when:?}");
            let allow = Rule { verdict: RuleVerdict::Allow, ..refuse(when.clone()) };
            let may = nobody(vec![allow, refuse(about(&["RETR"]))], &ANY);
            assert_eq!(may, when.logged_in.is_some(), "{when:?}");
        }
    }

    #[test]
    fn what_a_listener_cannot_have_decides() {
        let clear = Ahead { tls: &[TlsState::Clear], data_private: Some(false), ..ANY };
        let private = When { data_private: Some(false), ..about(&["RETR"]) };
        assert!(nobody(vec![refuse(private)], &clear));
        let tls = |states| When { tls: Some(states), ..about(&["RETR"]) };
        assert!(nobody(vec![refuse(tls(vec![TlsState::Clear]))], &clear));
        assert!(!nobody(vec![refuse(tls(vec![TlsState::Secured]))], &clear));
    }

    #[test]
    fn a_server_is_known_as_far_as_the_owner_says_it() {
        let named = || BypassEntry::Name(NamePattern::exact("ftp.example"));
        let network = Network::new("192.0.2.0".parse().unwrap(), 24).unwrap();
        let network = || BypassEntry::Network(network);
        let closes = |entries: Vec<BypassEntry>, server| {
            let when = When { servers: Among::Except(entries), ..When::default() };
            let policy = Policy { rules: vec![refuse(when)], ..Policy::default() };
            policy.refuses_everybody(&Ahead { server, ..ANY }, &Question::Connect).is_some()
        };
        for named_later in [false, true] {
            let original = ServerAhead::Original { named_later };
            assert!(closes(vec![named()], original));
            assert!(!closes(vec![named(), network()], original));
        }
        assert!(!closes(vec![named()], ServerAhead::Name("FTP.example.")));
        assert!(closes(vec![named()], ServerAhead::Name("other.example")));
        assert!(!closes(vec![network()], ServerAhead::Name("other.example")));
        let at = |text: &str| ServerAhead::Address(text.parse().unwrap());
        assert!(!closes(vec![network()], at("192.0.2.7")));
        assert!(closes(vec![network(), named()], at("198.51.100.7")));
    }
}
