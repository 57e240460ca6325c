//! What a policy says to one question, and why: `ftpgate check --explain`. The rules are those that
//! sessions are judged by, asked in the same way.
//!
//! | file | what it holds |
//! |---|---|
//! | `asked` | the question, from its words |
//! | `reasons` | why a rule does not apply, in words |
//!
//! Not here: what only a session can know, such as addresses of the gateway itself.

mod asked;
mod reasons;

use crate::addr::{Advertised, Observed, canonical};
use crate::config::{Config, Listener, PolicyConfig, TlsMode};
use crate::ftp::{EprtError, Verb, parse_eprt, parse_port};
use crate::policy::{Policy, Question, RuleVerdict, TlsState, Verdict};
use crate::report::Refusal;
use crate::session::{network_protocol_reply, refusal_reply};
use asked::Asked;
use std::net::SocketAddr;

/// What is said to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What is asked: each fact with its value.
    pub question: Vec<(&'static str, String)>,
    /// What was looked at, in order: its name, and why it does not decide. `None`: it does.
    pub steps: Vec<(String, Option<String>)>,
    /// What becomes of it.
    pub decision: String,
    /// What the client gets in the server's place.
    pub reply: Option<String>,
}

/// Judges the question of these words, each `KEY=VALUE`.
///
/// # Errors
/// What is wrong with the words, a line for each.
pub fn explain(config: &Config, words: &[String]) -> Result<Explanation, String> {
    let asked = Asked::parse(config, words)?;
    let default = PolicyConfig::default();
    let policy = config.policies.get(&asked.listener.policy).unwrap_or(&default);
    let mut explanation = Explanation {
        question: asked.facts(),
        steps: Vec::new(),
        decision: String::new(),
        reply: None,
    };
    if asked.is_unseen() {
        explanation.decision =
            "passes: inside TLS that does not end here, no command is seen".into();
        return Ok(explanation);
    }
    if let Some(reply) = asked.unsure_reply(&policy.compile(&asked.listener.name)) {
        explanation.steps.push(("the spelling".to_owned(), None));
        let reason = Refusal::Policy.label();
        explanation.decision = format!("refused by the gateway itself: {reason}");
        explanation.reply = Some(reply.trim_end().to_owned());
        return Ok(explanation);
    }
    if !explanation.ask_rules(policy, &asked) {
        explanation.ask_gateway(&policy.compile(&asked.listener.name), &asked);
    }
    Ok(explanation)
}

impl Explanation {
    /// True if it is decided.
    fn ask_rules(&mut self, policy: &PolicyConfig, asked: &Asked<'_>) -> bool {
        let (subject, question) = (asked.subject(), asked.question());
        for rule in policy.all_rules() {
            let name = rule.rule.name.to_string();
            if !rule.listeners.holds(|name| *name == asked.listener.name) {
                let why = reasons::among("listener", &asked.listener.name, &rule.listeners);
                self.steps.push((name, Some(why)));
                continue;
            }
            if let Some(obstacle) = rule.rule.obstacle(&subject, &question) {
                let why = reasons::why(obstacle, &rule.rule.when, asked);
                self.steps.push((name, Some(why)));
                continue;
            }
            self.steps.push((name.clone(), None));
            let connecting = matches!(question, Question::Connect);
            let (decision, reply) = match &rule.rule.verdict {
                RuleVerdict::Allow => return self.allowed_by(&name, policy, asked),
                RuleVerdict::Refuse(reply) | RuleVerdict::Close(reply) if connecting => {
                    ("closed", farewell(&reply.as_farewell()))
                }
                RuleVerdict::Refuse(reply) => ("refused", reply.to_string()),
                RuleVerdict::Close(reply) => ("closed", reply.to_string()),
            };
            self.decision = format!("{decision} by rule {name}");
            self.reply = Some(reply);
            return true;
        }
        false
    }

    /// A rule lets it pass; the gateway's own questions are still asked.
    fn allowed_by(&mut self, name: &str, policy: &PolicyConfig, asked: &Asked<'_>) -> bool {
        self.ask_gateway(&policy.compile(&asked.listener.name), asked);
        if self.reply.is_none() {
            self.decision = format!("allowed by rule {name}");
        }
        true
    }

    /// What the gateway refuses whatever the rules say.
    fn ask_gateway(&mut self, policy: &Policy, asked: &Asked<'_>) {
        let Some((verb, argument)) = asked.command() else {
            self.decision = "allowed: no rule applies".into();
            return;
        };
        for (name, refused) in own_questions(policy, asked, Verb::parse(verb), argument) {
            match refused {
                None => self.steps.push((name.to_owned(), Some("is in order".into()))),
                Some((reason, reply)) => {
                    self.steps.push((name.to_owned(), None));
                    self.decision = format!("refused by the gateway itself: {}", reason.label());
                    self.reply = Some(reply.trim_end().to_owned());
                    return;
                }
            }
        }
        self.decision = "allowed: no rule applies".into();
    }
}

fn farewell(line: &[u8]) -> String {
    String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
}

/// A refusal and the reply to it.
type Refused = (Refusal, &'static str);

/// The questions that a session asks about a command besides those to the rules.
fn own_questions(
    policy: &Policy,
    asked: &Asked<'_>,
    verb: Verb,
    argument: &[u8],
) -> Vec<(&'static str, Option<Refused>)> {
    let refused = |reason: Refusal| (reason, refusal_reply(reason));
    let mut questions = Vec::new();
    match verb {
        Verb::User | Verb::Pass | Verb::Acct if asked.listener.tls.required => {
            let lacks = asked.tls != Some(TlsState::Secured) || !ends_here(asked.listener);
            let refusal = lacks.then(|| refused(Refusal::TlsRequired));
            questions.push(("tls.required", refusal));
        }
        Verb::Auth => {
            let mode = asked.listener.tls.mode;
            let refuses = matches!(mode, TlsMode::Refuse | TlsMode::Originate);
            questions.push(("tls.mode", refuses.then(|| refused(Refusal::AuthRefused))));
        }
        Verb::Lprt | Verb::Lpsv => {
            questions.push(("RFC 1639", Some(refused(Refusal::LongAddress))));
        }
        Verb::Port | Verb::Eprt | Verb::Pasv | Verb::Epsv | Verb::Cpsv => {
            let login = match policy.may_negotiate(asked.logged_in) {
                Verdict::Allow => None,
                Verdict::Refuse(reason) => Some(refused(reason)),
            };
            questions.push(("the login", login));
            if matches!(verb, Verb::Port | Verb::Eprt) {
                questions.push(("the address", refused_address(policy, asked, verb, argument)));
            }
        }
        _ => {}
    }
    questions
}

fn ends_here(listener: &Listener) -> bool {
    matches!(listener.tls.mode, TlsMode::Intercept | TlsMode::Offload)
}

/// Why the address of PORT or EPRT may not be used.
fn refused_address(
    policy: &Policy,
    asked: &Asked<'_>,
    verb: Verb,
    argument: &[u8],
) -> Option<Refused> {
    let refused = |reason: Refusal| Some((reason, refusal_reply(reason)));
    let protocol =
        || Some((Refusal::NetworkProtocol, network_protocol_reply(asked.client.is_ipv4())));
    let address = if verb == Verb::Port {
        match parse_port(argument) {
            Ok(address) => SocketAddr::V4(address),
            Err(_) => return refused(Refusal::MalformedArgument),
        }
    } else {
        match parse_eprt(argument) {
            Ok(eprt) => canonical(eprt.address),
            Err(EprtError::Malformed) => return refused(Refusal::MalformedArgument),
            Err(EprtError::UnknownProtocol) => return protocol(),
        }
    };
    if verb == Verb::Eprt && address.is_ipv4() != asked.client.is_ipv4() {
        return protocol();
    }
    match policy.may_listen_at(Advertised(address), Observed(asked.client)) {
        Verdict::Allow => None,
        Verdict::Refuse(reason) => refused(reason),
    }
}

#[cfg(test)]
mod tests;
