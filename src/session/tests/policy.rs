//! Whatever the owner's rules are and however the client sends: what reaches the server is allowed by
//! the rules as they are asked about what is true on the server at that moment.

use super::*;
use crate::policy::{
    Among, CommandPattern, OwnReply, Pattern, Policy, Question, Rule, RuleVerdict, Subject,
    TlsState, When, change_directory,
};
use crate::report::Refusal;
use proptest::prelude::*;
use std::collections::VecDeque;

/// What the client says. `nobody` is refused by the server, `link` leads to `/secret`.
const LINES: [&str; 28] = [
    // Several at once, which seldom come together by chance.
    "USER bob\r\nPASS x",
    "CWD /pub\r\nRNFR a\r\nCWD /secret\r\nRNTO /pub/b",
    "USER bob",
    "USER eve",
    "USER nobody",
    "PASS x",
    "REIN",
    "CWD pub",
    "CWD /secret",
    "CWD link",
    "CWD nowhere",
    "CDUP",
    "XCWD ..",
    "DELE a",
    "DELE secret/a",
    "RETR ../secret/a.exe",
    "RETR /pub/a",
    "STOR b.exe",
    "RNFR a",
    "RNTO /pub/b",
    "site exec x",
    "PROT P",
    "PROT C",
    "XYZZY a",
    "ABOR",
    "ABOR",
    "MKD /pub/b",
    "MKD b",
];

/// What becomes of it in between.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The client sends the line of this number.
    Say(usize),
    /// The server works off the next line.
    Serve,
    /// The server says something of its own accord, if it is one that does.
    Interrupt,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..LINES.len()).prop_map(Step::Say),
        4 => Just(Step::Serve),
        1 => Just(Step::Interrupt),
    ];
    prop::collection::vec(step, 0..40)
}

fn commands() -> impl Strategy<Value = Among<CommandPattern>> {
    let names = vec![
        "DELE",
        "RETR",
        "STOR",
        "CWD",
        "CDUP",
        "USER",
        "PASS",
        "PROT",
        "SITE EXEC",
        "SITE",
        "RNTO",
        "XYZZY",
        "REIN",
    ];
    let parse = |names: Vec<&str>| names.iter().filter_map(|n| CommandPattern::parse(n)).collect();
    let list = prop::sample::subsequence(names, 1..5).prop_map(parse);
    prop_oneof![
        2 => Just(Among::Any),
        4 => list.clone().prop_map(Among::Of),
        1 => list.prop_map(Among::Except),
    ]
}

fn patterns(
    texts: Vec<&'static str>,
    read: fn(&str) -> Option<Pattern>,
) -> impl Strategy<Value = Among<Pattern>> {
    let parse = move |texts: Vec<&str>| texts.iter().filter_map(|text| read(text)).collect();
    let list = prop::sample::subsequence(texts, 1..3).prop_map(parse);
    prop_oneof![
        4 => Just(Among::Any),
        2 => list.clone().prop_map(Among::Of),
        1 => list.prop_map(Among::Except),
    ]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let reply = OwnReply::new(550, "No.").unwrap();
    let verdict = prop_oneof![
        2 => Just(RuleVerdict::Allow),
        5 => Just(RuleVerdict::Refuse(reply.clone())),
        1 => Just(RuleVerdict::Close(reply)),
    ];
    let users = patterns(vec!["bob", "eve", "nobody"], |text| Pattern::name(text).ok());
    let paths = patterns(vec!["/secret", "/secret/**", "/pub/**", "*.exe", "/a"], |text| {
        Pattern::path(text).ok()
    });
    let unsure = || prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let conditions = (commands(), users, paths, unsure(), unsure());
    let rule = (verdict, conditions).prop_map(|(verdict, conditions)| {
        let (commands, users, paths, logged_in, data_private) = conditions;
        let when = When { commands, users, paths, logged_in, data_private, ..When::default() };
        Rule { name: "a rule".into(), when, verdict }
    });
    prop::collection::vec(rule, 1..5)
}

/// How a server sends other replies than one to each command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirk {
    None,
    /// ABOR is answered twice.
    AbortsTwice,
    /// ABOR is not answered.
    AbortsSilently,
    /// ABOR is answered in a way that RFC 959 does not know.
    AbortsOddly,
    /// 421 at any time, and the session goes on (pyftpdlib).
    Interrupts,
}

fn quirks() -> impl Strategy<Value = Quirk> {
    prop_oneof![
        2 => Just(Quirk::None),
        1 => Just(Quirk::AbortsTwice),
        1 => Just(Quirk::AbortsSilently),
        1 => Just(Quirk::AbortsOddly),
        1 => Just(Quirk::Interrupts),
    ]
}

/// A server of one session, and what is true of it.
struct Server {
    quirk: Quirk,
    received: VecDeque<String>,
    asked: Option<String>,
    user: Option<String>,
    logged_in: bool,
    directory: Vec<u8>,
    /// The name in RNFR, as it came: vsftpd and Pure-FTPd read it from where the client is at RNTO.
    renamed: Option<String>,
}

impl Server {
    fn new(quirk: Quirk) -> Self {
        Self {
            quirk,
            received: VecDeque::new(),
            asked: None,
            user: None,
            logged_in: false,
            directory: Vec::new(),
            renamed: None,
        }
    }

    /// Works off one line; true if there was one. It is one that `policy` lets pass at this moment.
    fn serve(&mut self, bench: &mut Bench, policy: &Policy) -> bool {
        let Some(line) = self.received.pop_front() else { return false };
        let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let judged = |server: &Self, verb: &str, argument: &str| {
            let known = if verb == "USER" { Some(argument) } else { server.user.as_deref() };
            let subject = Subject {
                client: "192.0.2.2".parse().unwrap(),
                server: Some("10.0.0.5".parse().unwrap()),
                server_name: None,
                user: known.map(str::as_bytes),
                logged_in: server.logged_in,
                tls: Some(TlsState::Clear),
                data_private: Some(false),
                directory: server.logged_in.then_some(&server.directory[..]),
            };
            let question =
                Question::Command { verb: verb.as_bytes(), argument: argument.as_bytes() };
            let rule = policy.judge(&subject, &question);
            let allowed = rule.is_none_or(|rule| rule.verdict == RuleVerdict::Allow);
            assert!(allowed, "{verb} {argument} came, and {rule:?} refuses it to {subject:?}");
        };
        if verb != "PWD" {
            judged(self, verb, argument);
        }
        if let (true, "RNTO", Some(name)) = (self.logged_in, verb, &self.renamed) {
            judged(self, "RNFR", name);
        }
        let reply = self.reply(verb, argument);
        self.read(bench.say(Side::Server, &reply));
        true
    }

    fn interrupt(&mut self, bench: &mut Bench) {
        if self.quirk == Quirk::Interrupts {
            self.read(bench.say(Side::Server, "421 Timed out\r\n"));
        }
    }

    fn reply(&mut self, verb: &str, argument: &str) -> String {
        match (verb, argument) {
            ("USER", "nobody") => "530 no\r\n".to_owned(),
            ("USER", user) => {
                (self.user, self.asked) = (Some(user.to_owned()), Some(user.to_owned()));
                self.logged_in = false;
                "331 password\r\n".to_owned()
            }
            ("PASS", _) if self.asked.take().is_some() => {
                self.logged_in = true;
                self.directory = b"/".to_vec();
                self.renamed = None;
                "230 in\r\n".to_owned()
            }
            ("REIN", _) => {
                let received = std::mem::take(&mut self.received);
                *self = Self { received, ..Self::new(self.quirk) };
                "220 again\r\n".to_owned()
            }
            // It says so without TLS, where nothing can be private.
            ("PROT", _) => "200 ok\r\n".to_owned(),
            ("ABOR", _) => match self.quirk {
                Quirk::AbortsTwice => "225 aborted\r\n226 done\r\n".to_owned(),
                Quirk::AbortsSilently => String::new(),
                Quirk::AbortsOddly => "550 no\r\n".to_owned(),
                Quirk::None | Quirk::Interrupts => "225 nothing\r\n".to_owned(),
            },
            _ if !self.logged_in => "530 log in\r\n".to_owned(),
            ("PWD", _) => format!("257 \"{}\"\r\n", String::from_utf8_lossy(&self.directory)),
            ("CWD" | "XCWD", "nowhere") => "550 no\r\n".to_owned(),
            ("CWD" | "XCWD" | "CDUP", name) => {
                let name = match name {
                    "link" => "/secret",
                    "" => "..",
                    name => name,
                };
                self.directory = change_directory(&self.directory, name.as_bytes());
                "250 ok\r\n".to_owned()
            }
            ("MKD", name) => {
                let made = change_directory(&self.directory, name.as_bytes());
                format!("257 \"{}\" made\r\n", String::from_utf8_lossy(&made))
            }
            // There is no such file at the top, and the name before is kept (Pure-FTPd).
            ("RNFR", _) if self.directory == b"/" => "550 no\r\n".to_owned(),
            ("RNFR", name) => {
                self.renamed = Some(name.to_owned());
                "350 go on\r\n".to_owned()
            }
            ("RNTO", _) if self.renamed.take().is_none() => "503 RNFR first\r\n".to_owned(),
            _ => "450 later\r\n".to_owned(),
        }
    }

    /// Takes what the session has sent.
    fn read(&mut self, done: Vec<Action>) {
        for action in done {
            if let Action::SendBytes { to: Side::Server, bytes } = action {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                self.received.extend(text.lines().map(str::to_owned));
            }
        }
    }
}

/// A session and its client.
struct Bench {
    session: Session,
    now: Instant,
    commands: usize,
    answered: usize,
    closed: bool,
}

impl Bench {
    fn say(&mut self, from: Side, text: &str) -> Vec<Action> {
        self.tell(Event::BytesReceived { from, bytes: text.as_bytes() })
    }

    fn tell(&mut self, event: Event<'_>) -> Vec<Action> {
        self.session.handle_event(event, self.now);
        let mut done = Vec::new();
        while let Some(action) = self.session.poll_action() {
            match &action {
                Action::SendBytes { to: Side::Client, bytes } => {
                    self.answered += bytes.iter().filter(|byte| **byte == b'\n').count();
                }
                Action::Report(Report::CommandReceived { .. }) => self.commands += 1,
                Action::Report(Report::Refused { reason, .. }) => {
                    // What moves data is refused ahead of the login whatever they say.
                    assert!(matches!(reason, Refusal::Policy | Refusal::NotLoggedIn));
                }
                Action::CloseSession => self.closed = true,
                _ => {}
            }
            done.push(action);
        }
        done
    }
}

proptest! {
    #[test]
    fn what_the_rules_refuse_never_reaches_the_server(
        mut rules in rules(),
        steps in steps(),
        quirk in quirks(),
    ) {
        let has_quirk = quirk != Quirk::None;
        if has_quirk {
            // Whether a login or REIN has been accepted cannot be told then, and harms nobody.
            rules.iter_mut().for_each(|rule| rule.when.logged_in = None);
        }
        let policy = Policy { rules, ..Policy::default() };
        let settings = Settings { policy: policy.clone(), ..Settings::default() };
        let parties = Parties {
            client: at("192.0.2.2:40000"),
            original_dst: OriginalDst(at("203.0.113.7:21")),
            dials_gateway: true,
            external_client: ByOwn::default(),
            external_server: ByOwn::default(),
            introduced_at: None,
        };
        let now = Instant::now();
        let session = Session::new(Arc::new(settings), parties, now);
        let mut bench =
            Bench { session, now, commands: 0, answered: 0, closed: false };
        let mut server = Server::new(quirk);
        let (address, seen_as) = (at("10.0.0.5:21"), at("10.0.0.1:33000"));
        bench.tell(Event::ServerFound { server: address });
        bench.tell(Event::ServerConnected { server: address, seen_as, wants_certificate: false });
        bench.say(Side::Server, "220 ready\r\n");
        for step in steps {
            match step {
                Step::Say(line) => {
                    let line = format!("{}\r\n", LINES[line]);
                    server.read(bench.say(Side::Client, &line));
                }
                Step::Serve => {
                    server.serve(&mut bench, &policy);
                }
                Step::Interrupt => server.interrupt(&mut bench),
            }
        }
        while server.serve(&mut bench, &policy) {}
        // One reply to each command, and the greeting.
        prop_assert!(has_quirk || bench.closed || bench.answered == bench.commands + 1);
    }
}
