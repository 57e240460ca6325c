//! What a policy refuses whatever its client does next: what need not be offered to it.

use super::rule::{Among, Rule, RuleVerdict, When};
use super::{Policy, Question, Subject};

impl Policy {
    /// True if the command is refused to the subject now, and stays so: not because of a path, nor of
    /// a login or protection that may still come.
    pub fn never_allows(&self, subject: &Subject<'_>, verb: &[u8], argument: &[u8]) -> bool {
        let question = Question::Command { verb, argument };
        for rule in &self.rules {
            let may_change = rule.depends_on_more(subject);
            match rule.verdict {
                // Whether it applies then, nobody knows: there may be a way.
                RuleVerdict::Allow if may_change => {
                    if rule.without_these().applies(subject, &question) {
                        return false;
                    }
                }
                RuleVerdict::Refuse(_) | RuleVerdict::Close(_) if may_change => {}
                _ if !rule.applies(subject, &question) => {}
                RuleVerdict::Allow => return false,
                RuleVerdict::Refuse(_) | RuleVerdict::Close(_) => return true,
            }
        }
        false
    }
}

impl Rule {
    /// True if it has conditions whose answer may be another one for the client's next command.
    fn depends_on_more(&self, subject: &Subject<'_>) -> bool {
        let When { users, tls, logged_in, data_private, paths, .. } = &self.when;
        let of_user = users.is_given() && subject.user.is_none();
        of_user
            || tls.is_some()
            || logged_in.is_some()
            || data_private.is_some()
            || paths.is_given()
    }

    /// The same rule without these conditions.
    fn without_these(&self) -> Self {
        let when = When {
            users: Among::Any,
            tls: None,
            logged_in: None,
            data_private: None,
            paths: Among::Any,
            ..self.when.clone()
        };
        Self { when, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{CommandPattern, OwnReply, Pattern};

    fn subject(user: Option<&'static [u8]>) -> Subject<'static> {
        Subject {
            client: "192.0.2.2".parse().unwrap(),
            server: Some("198.51.100.2".parse().unwrap()),
            server_name: None,
            user,
            logged_in: false,
            tls: None,
            data_private: None,
            directory: None,
        }
    }

    fn refuse() -> RuleVerdict {
        RuleVerdict::Refuse(OwnReply::new(550, "No.").unwrap())
    }

    fn rule(commands: &[&str], verdict: RuleVerdict) -> Rule {
        let parse = |text: &&str| CommandPattern::parse(text).unwrap();
        let commands = Among::Of(commands.iter().map(parse).collect());
        Rule { name: "a rule".into(), when: When { commands, ..When::default() }, verdict }
    }

    fn with(rule: Rule, change: impl FnOnce(&mut When)) -> Rule {
        let mut rule = rule;
        change(&mut rule.when);
        rule
    }

    fn never(rules: Vec<Rule>, user: Option<&'static [u8]>, verb: &str) -> bool {
        let policy = Policy { rules, ..Policy::default() };
        policy.never_allows(&subject(user), verb.as_bytes(), b"")
    }

    #[test]
    fn what_is_always_refused_is_not_offered() {
        assert!(never(vec![rule(&["MDTM"], refuse())], None, "MDTM"));
        assert!(!never(vec![rule(&["MDTM"], refuse())], None, "SIZE"));
        let exception = rule(&["MDTM"], RuleVerdict::Allow);
        assert!(!never(vec![exception, rule(&["MDTM"], refuse())], None, "MDTM"));
    }

    #[test]
    fn what_may_still_be_allowed_is_offered() {
        let bob = || Among::Of(vec![Pattern::name("bob").unwrap()]);
        let paths = || Among::Of(vec![Pattern::path("/secret/**").unwrap()]);
        for refused in [
            with(rule(&["CCC"], refuse()), |when| when.logged_in = Some(false)),
            with(rule(&["CCC"], refuse()), |when| when.data_private = Some(false)),
            with(rule(&["CCC"], refuse()), |when| when.paths = paths()),
            with(rule(&["CCC"], refuse()), |when| when.users = bob()),
        ] {
            assert!(!never(vec![refused], None, "CCC"));
        }
        let allowed = with(rule(&["CCC"], RuleVerdict::Allow), |when| when.logged_in = Some(true));
        assert!(!never(vec![allowed, rule(&["CCC"], refuse())], None, "CCC"));
    }

    #[test]
    fn a_known_user_is_judged_as_such() {
        let bob = || Among::Of(vec![Pattern::name("bob").unwrap()]);
        let refused = || with(rule(&["MDTM"], refuse()), |when| when.users = bob());
        assert!(never(vec![refused()], Some(b"bob"), "MDTM"));
        assert!(!never(vec![refused()], Some(b"eve"), "MDTM"));
    }
}
