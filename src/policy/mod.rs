//! Questions about what may pass, answered with values: pure.
//!
//! The session asks; a [`Verdict`] answers. A refusal is a value with its reason, never an error.
//!
//! | file | what it holds |
//! |---|---|
//! | `rule` | the owner's rules: when one applies, and what it says |
//! | `obstacle` | why a rule does not apply |
//! | `question` | what they are asked, and what is known then |
//! | `command` | which commands a rule is about |
//! | `sum` | what servers take for the name where a sum is asked for |
//! | `path` | what a client means by the name of a file |
//! | `pattern` | patterns on names and paths |
//! | `feature` | what is refused whatever comes |
//! | `foregone` | what is refused to everybody, known ahead of the first session |
//! | `profile` | the commands that only read, and those that only add |
//! | `fxp` | whom a client may name besides itself |
//! | `bypass` | networks and names of servers |
//!
//! Not here: how the gateway's own refusals are worded towards the client (see [`crate::session`]).

pub mod bypass;
mod command;
mod feature;
mod foregone;
mod fxp;
mod obstacle;
mod path;
mod pattern;
mod profile;
mod question;
mod rule;
mod sum;

pub use command::CommandPattern;
pub use foregone::{Ahead, ServerAhead};
pub use fxp::Fxp;
pub use obstacle::Obstacle;
pub use path::{change as change_directory, has_quotes_or_options};
pub use pattern::{LONGEST_PATTERN, Pattern, PatternError};
pub use profile::{ENCLOSED, READ_ONLY, UPLOAD_ONLY};
pub use question::{Question, Subject, TlsState};
pub use rule::{Among, OwnReply, Rule, RuleVerdict, When};

use crate::addr::{Advertised, Observed};
use crate::report::Refusal;
use command::Asked;

/// The answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass.
    Allow,
    /// It may not, for this reason.
    Refuse(Refusal),
}

/// What one listener's sessions may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Refuse a 227 that names another host, instead of using the server's own address.
    pub strict: bool,
    /// Allow data ports below 1024.
    pub low_ports: bool,
    /// Whom the client may name in PORT and EPRT besides itself.
    pub fxp: Fxp,
    /// The owner's rules: the first one that applies to a question answers it.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// The rule that answers `question`; `None`: there is none, and it may pass.
    pub fn judge(&self, subject: &Subject<'_>, question: &Question<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.applies(subject, question))
    }

    /// True if a rule asks for the path of a file that this command names.
    pub fn asks_for_path(&self, verb: &[u8], argument: &[u8]) -> bool {
        self.rules.iter().any(|rule| rule.asks_for_path(verb, argument))
    }

    /// As [`Self::asks_for_path`], where the client names one besides the directory that it is in.
    pub fn asks_for_name(&self, verb: &[u8], argument: &[u8]) -> bool {
        !Asked::new(verb, argument).names_nothing() && self.asks_for_path(verb, argument)
    }

    /// True if a rule asks for paths, so that the client's directory has to be followed.
    pub fn asks_for_paths(&self) -> bool {
        self.rules.iter().any(|rule| rule.when.paths.is_given())
    }

    /// True if a rule asks who the user is.
    pub fn asks_for_users(&self) -> bool {
        self.rules.iter().any(|rule| rule.when.users.is_given())
    }

    /// True if the answer depends on the directory that the client is in.
    pub fn depends_on_directory(&self, verb: &[u8], argument: &[u8]) -> bool {
        self.rules.iter().any(|rule| rule.depends_on_directory(verb, argument))
    }

    /// May a data connection be negotiated, or used, given whether the login was accepted (case 4)?
    pub fn may_negotiate(&self, logged_in: bool) -> Verdict {
        if logged_in { Verdict::Allow } else { Verdict::Refuse(Refusal::NotLoggedIn) }
    }

    /// May the server be sent to `target`, which the client named in PORT or EPRT (RFC 2577 §2, §3)?
    pub fn may_listen_at(&self, target: Advertised, client: Observed) -> Verdict {
        let third = target.names_third_party(client);
        if third && !self.fxp.allows(client.0, target.0.ip()) {
            return Verdict::Refuse(Refusal::ThirdPartyAddress);
        }
        self.may_use_port(target)
    }

    /// May the client be sent to `target`, which the server named in 227? Unless the policy is
    /// strict, a foreign address is allowed, for only the port of it is ever used (CVE-2020-8284).
    pub fn may_connect_to(&self, target: Advertised, server: Observed) -> Verdict {
        if self.strict && target.names_third_party(server) {
            return Verdict::Refuse(Refusal::ForeignServerAddress);
        }
        self.may_use_port(target)
    }

    fn may_use_port(&self, target: Advertised) -> Verdict {
        if target.0.port() == 0 || (target.names_low_port() && !self.low_ports) {
            return Verdict::Refuse(Refusal::LowPort);
        }
        Verdict::Allow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Advertised {
        Advertised(text.parse().unwrap())
    }

    fn seen(text: &str) -> Observed {
        Observed(text.parse().unwrap())
    }

    #[test]
    fn case_6_and_7_the_client_may_name_only_itself_and_a_high_port() {
        let policy = Policy::default();
        let client = seen("192.0.2.2");
        assert_eq!(policy.may_listen_at(at("192.0.2.2:5001"), client), Verdict::Allow);
        let refusals = [
            ("192.0.2.3:5001", Refusal::ThirdPartyAddress),
            ("192.0.2.2:1023", Refusal::LowPort),
            ("192.0.2.2:0", Refusal::LowPort),
        ];
        for (target, reason) in refusals {
            assert_eq!(policy.may_listen_at(at(target), client), Verdict::Refuse(reason));
        }
    }

    #[test]
    fn port_zero_is_refused_even_where_low_ports_are_allowed() {
        let policy = Policy { low_ports: true, ..Policy::default() };
        let client = seen("192.0.2.2");
        assert_eq!(policy.may_listen_at(at("192.0.2.2:20"), client), Verdict::Allow);
        assert_eq!(
            policy.may_listen_at(at("192.0.2.2:0"), client),
            Verdict::Refuse(Refusal::LowPort)
        );
    }

    #[test]
    fn case_9_a_foreign_server_address_is_refused_only_by_a_strict_policy() {
        let foreign = at("10.0.0.5:50000");
        let server = seen("198.51.100.2");
        assert_eq!(Policy::default().may_connect_to(foreign, server), Verdict::Allow);
        let strict = Policy { strict: true, ..Policy::default() };
        assert_eq!(
            strict.may_connect_to(foreign, server),
            Verdict::Refuse(Refusal::ForeignServerAddress)
        );
    }
}
