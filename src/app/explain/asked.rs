//! The question: words of a command line, each `KEY=VALUE`, and what is taken where one is missing.

use crate::config::{Config, Listener, Server, TlsMode, command_meant};
use crate::policy::{Question, Subject, TlsState};
use std::fmt::Write;
use std::net::IpAddr;

/// The keys, in the order in which facts are told.
const KEYS: [&str; 9] =
    ["client", "server", "listener", "user", "tls", "login", "data", "directory", "command"];

const UNKNOWN: &str = "not known";

/// What is asked about whom.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) listener: &'a Listener,
    pub(super) client: IpAddr,
    pub(super) server: Option<IpAddr>,
    pub(super) server_name: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) tls: Option<TlsState>,
    pub(super) logged_in: bool,
    login_given: bool,
    pub(super) data_private: Option<bool>,
    directory: Option<&'a str>,
    /// `None`: it is about connecting.
    line: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// Reads the words. A missing value is unknown, unless the configuration or the command tells it.
    ///
    /// # Errors
    /// Every word that says nothing, a line for each.
    pub(super) fn parse(config: &'a Config, words: &'a [String]) -> Result<Self, String> {
        let mut problems = String::new();
        let values = Values::collect(words, &mut problems);
        let listener = find_listener(config, &values, &mut problems);
        let (server, server_name) = server(&values, listener, &mut problems);
        let tls = values.choice("tls", &TLS, &mut problems);
        let login = values.choice("login", &LOGIN, &mut problems);
        let data_private = values.choice("data", &DATA, &mut problems);
        let line = values.one("command");
        let (verb, argument) = line.map_or(("", ""), split);
        if !verb.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let _ = writeln!(problems, "command: `{}` is no verb of FTP", verb.escape_debug());
        }
        let client = match values.one("client").map(str::parse::<IpAddr>) {
            Some(Ok(client)) => Some(client.to_canonical()),
            Some(Err(_)) => {
                problems += "client: write an IP address, for example client=192.0.2.7\n";
                None
            }
            None => {
                problems += "client is missing: write for example client=192.0.2.7\n";
                None
            }
        };
        if tls == Some(TlsState::Secured)
            && let Some(listener) = listener
            && matches!(listener.tls.mode, TlsMode::Refuse | TlsMode::Originate)
        {
            let _ = writeln!(
                problems,
                "tls: clients of listener {} are never secured: write clear",
                listener.name
            );
        }
        let (Some(listener), Some(client), true) = (listener, client, problems.is_empty()) else {
            return Err(problems);
        };
        let is_login = |verb: &str| {
            ["", "USER", "PASS", "ACCT", "AUTH"].iter().any(|one| verb.eq_ignore_ascii_case(one))
        };
        let said_user = verb.eq_ignore_ascii_case("USER").then_some(argument);
        Ok(Self {
            listener,
            client,
            server,
            server_name,
            user: said_user.or_else(|| values.one("user")),
            tls,
            logged_in: login.unwrap_or(!is_login(verb)),
            login_given: login.is_some(),
            data_private,
            directory: values.one("directory"),
            line,
        })
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            client: self.client,
            server: self.server,
            server_name: self.server_name,
            user: self.user.map(str::as_bytes),
            logged_in: self.logged_in,
            tls: self.tls,
            data_private: self.data_private,
            directory: self.directory.map(str::as_bytes),
        }
    }

    pub(super) fn question(&self) -> Question<'_> {
        match self.command() {
            None => Question::Connect,
            Some((verb, argument)) => Question::Command { verb, argument },
        }
    }

    /// The verb and the argument.
    pub(super) fn command(&self) -> Option<(&[u8], &[u8])> {
        let (verb, argument) = self.line.map(split)?;
        Some((verb.as_bytes(), argument.as_bytes()))
    }

    /// True if the gateway carries the command without seeing it.
    pub(super) fn is_unseen(&self) -> bool {
        self.line.is_some()
            && self.tls == Some(TlsState::Secured)
            && self.listener.tls.mode == TlsMode::Passthrough
    }

    /// What is asked, each with its value, those that are not known as well.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let known = |value: Option<&str>| value.map_or_else(|| UNKNOWN.into(), shown);
        let server = match (self.server, self.server_name) {
            (None, None) => UNKNOWN.to_owned(),
            (None, Some(name)) => format!("{name}, address {UNKNOWN}"),
            (Some(address), None) => address.to_string(),
            (Some(address), Some(name)) => format!("{address}, {name}"),
        };
        let word = if self.logged_in { "after" } else { "before" };
        let login =
            if self.login_given { word.to_owned() } else { format!("{word}, as it is not given") };
        let mut facts = vec![
            ("client", self.client.to_string()),
            ("server", server),
            ("listener", format!("{}, policy {}", self.listener.name, self.listener.policy)),
        ];
        let Some(line) = self.line else {
            facts.push(("question", "may it connect".to_owned()));
            return facts;
        };
        facts.extend([
            ("user", known(self.user)),
            ("tls", known(self.tls.map(|tls| label(&TLS, tls)))),
            ("login", login),
            ("data", known(self.data_private.map(|data| label(&DATA, data)))),
            ("directory", known(self.directory)),
            ("command", shown(line)),
        ]);
        if let Some(meant) = command_meant(split(line).0) {
            let verb = shown(&split(line).0.to_uppercase());
            facts.push(("hint", format!("FTP has no command {verb}: did you mean {meant}?")));
        }
        facts
    }
}

fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

fn split(line: &str) -> (&str, &str) {
    let line = line.trim_matches([' ', '\t']);
    let (verb, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    (verb, argument.trim_matches([' ', '\t']))
}

const TLS: [(&str, TlsState); 3] =
    [("clear", TlsState::Clear), ("secured", TlsState::Secured), ("cleared", TlsState::Cleared)];
const LOGIN: [(&str, bool); 2] = [("before", false), ("after", true)];
const DATA: [(&str, bool); 2] = [("clear", false), ("private", true)];

pub(super) fn label<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, one)| *one == value).map_or("", |(word, _)| word)
}

/// The words by their keys.
struct Values<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Values<'a> {
    fn collect(words: &'a [String], problems: &mut String) -> Self {
        let mut values: Vec<(&'static str, &'a str)> = Vec::new();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let known = KEYS.iter().find(|known| **known == key);
            // Writing to a String cannot fail.
            let _ = match known {
                Some(_) if value.trim().is_empty() => writeln!(
                    problems,
                    "`{}` has no value: write {key}=VALUE, or leave it out",
                    shown(word)
                ),
                None => {
                    let keys = KEYS.join(", ");
                    writeln!(problems, "`{}` is not known here: the keys are {keys}", shown(key))
                }
                // A server has an address and a name.
                Some(key) if *key != "server" && values.iter().any(|(other, _)| other == key) => {
                    writeln!(problems, "`{key}` stands here twice: write it once")
                }
                Some(key) => {
                    values.push((key, value));
                    Ok(())
                }
            };
        }
        Self(values)
    }

    fn one(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| *other == key).map(|(_, value)| *value)
    }

    fn choice<T: Copy>(
        &self,
        key: &str,
        words: &[(&'static str, T)],
        problems: &mut String,
    ) -> Option<T> {
        let value = self.one(key)?;
        let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let value = shown(value);
            let _ = writeln!(problems, "{key}: `{value}` is none of {}", known.join(", "));
        }
        found
    }
}

fn find_listener<'a>(
    config: &'a Config,
    values: &Values<'a>,
    problems: &mut String,
) -> Option<&'a Listener> {
    let names = || config.listeners.iter().map(|one| one.name.as_str()).collect::<Vec<_>>();
    match (values.one("listener"), config.listeners.as_slice()) {
        (None, [only]) => Some(only),
        (None, _) => {
            let _ = writeln!(problems, "listener is missing: write one of {}", names().join(", "));
            None
        }
        (Some(name), listeners) => {
            let found = listeners.iter().find(|one| one.name == name);
            if found.is_none() {
                let (name, names) = (shown(name), names().join(", "));
                let _ = writeln!(problems, "listener: there is no `{name}`: write one of {names}");
            }
            found
        }
    }
}

/// Where the session leads: what is said, or else what the listener says.
fn server<'a>(
    values: &Values<'a>,
    listener: Option<&'a Listener>,
    problems: &mut String,
) -> (Option<IpAddr>, Option<&'a str>) {
    let mut said = (None, None);
    let of_listener = listener.and_then(|listener| match &listener.server {
        Server::Original => None,
        Server::Address { host, .. } => Some(host.as_str()),
    });
    let given = values.0.iter().filter(|(key, _)| *key == "server").map(|(_, value)| *value);
    let mut take = |value: &'a str, is_given: bool| match value.parse::<IpAddr>() {
        Ok(address) if said.0.is_none() => said.0 = Some(address.to_canonical()),
        Err(_) if said.1.is_none() => said.1 = Some(value),
        Ok(_) | Err(_) if is_given => {
            *problems += "server: write one address and one name at most\n";
        }
        Ok(_) | Err(_) => {}
    };
    given.for_each(|value| take(value, true));
    if let Some(host) = of_listener {
        take(host, false);
    }
    said
}
