//! Why a rule does not apply: the one place where its conditions are compared with what is known.

use super::command::Asked;
use super::question::{Question, Subject};
use super::rule::{Rule, When};

/// The first condition of a rule that does not hold for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The client is another.
    Client,
    /// The server is another.
    Server,
    /// The server is not known yet.
    ServerUnknown,
    /// The question is about connecting, the rule about what shows later.
    Later,
    /// The command is another, or one that only rules which name it are about.
    Command,
    /// There is no path in the command that rules look at.
    NoPath,
    /// The user is another.
    User,
    /// There is no user yet.
    UserUnknown,
    /// The control connection is protected in another way.
    Tls,
    /// Its protection is open.
    TlsUnknown,
    /// It is not before, or not after, the login.
    Login,
    /// Data connections are protected in another way.
    Data,
    /// Nobody could see how they are.
    DataUnknown,
    /// The path is another.
    Path,
}

impl Rule {
    /// Why it does not answer `question` about `subject`: the first of its conditions that does not
    /// hold. `None`: it does.
    pub fn obstacle(&self, subject: &Subject<'_>, question: &Question<'_>) -> Option<Obstacle> {
        let when = &self.when;
        if !when.clients.holds(|network| network.contains(subject.client)) {
            return Some(Obstacle::Client);
        }
        let asked = match question {
            Question::Connect if !when.is_about_connecting() => return Some(Obstacle::Later),
            Question::Connect => return when.servers_obstacle(subject),
            Question::Command { verb, argument } => Asked::new(verb, argument),
        };
        if !when.is_about(asked) {
            return Some(Obstacle::Command);
        }
        if when.paths.is_given() && !asked.has_path() {
            return Some(Obstacle::NoPath);
        }
        let path = || (!self.holds_for_path(subject, asked)).then_some(Obstacle::Path);
        when.servers_obstacle(subject).or_else(|| when.sessions_obstacle(subject)).or_else(path)
    }
}

impl When {
    fn servers_obstacle(&self, subject: &Subject<'_>) -> Option<Obstacle> {
        let Some(server) = subject.server else {
            return self.servers.is_given().then_some(Obstacle::ServerUnknown);
        };
        let holds = self.servers.holds(|entry| entry.matches(server, subject.server_name));
        (!holds).then_some(Obstacle::Server)
    }

    fn sessions_obstacle(&self, subject: &Subject<'_>) -> Option<Obstacle> {
        if self.users.is_given() {
            let Some(user) = subject.user else { return Some(Obstacle::UserUnknown) };
            if !self.users.holds(|pattern| pattern.matches(user)) {
                return Some(Obstacle::User);
            }
        }
        if let Some(states) = &self.tls {
            let Some(state) = subject.tls else { return Some(Obstacle::TlsUnknown) };
            if !states.contains(&state) {
                return Some(Obstacle::Tls);
            }
        }
        if self.logged_in.is_some_and(|wanted| subject.logged_in != wanted) {
            return Some(Obstacle::Login);
        }
        let wanted = self.data_private?;
        match subject.data_private {
            Some(private) => (private != wanted).then_some(Obstacle::Data),
            None => Some(Obstacle::DataUnknown),
        }
    }
}
