//! When rules apply, and when not.

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
    let unknown = Subject { server: None, user: None, tls: None, data_private: None, ..subject() };
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
    for inside in ["RETR /secret/a", "DELE ../secret/a", r"RNTO ..\secret\a", "MDTM /secret/a"] {
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
    for (line, refused) in [("RETR a.exe", true), ("RETR ../a.exe", true), ("RETR a.txt", false)] {
        assert_eq!(
            answered(&[rule(programs(), refuse())], &lost, line).is_some(),
            refused,
            "{line}"
        );
        assert_eq!(answered(&[rule(others(), refuse())], &lost, line).is_some(), refused, "{line}");
    }
    assert!(answered(&[rule(programs(), refuse())], &lost, "DELE ..").is_some(), "any last part");
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
fn what_servers_read_in_their_own_way_may_be_any_file() {
    let looking = When {
        paths: Among::Of(paths(&["/secret", "/secret/**"])),
        commands: Among::Of(commands(&["LIST", "NLST", "STAT"])),
        ..When::default()
    };
    let refused = [rule(looking.clone(), refuse())];
    for spelled in [
        "LIST -la /secret",
        "LIST -la\t/secret",
        "LIST -l -a \x0b/secret",
        "LIST -a/secret",
        "NLST -1\x0b/secret",
        "STAT -a\t/secret",
        "LIST /secr*/*",
        "NLST /[s]ecret",
        "LIST --a/secret",
    ] {
        assert!(answered(&refused, &subject(), spelled).is_some(), "{spelled}");
        let allowed = [rule(looking.clone(), RuleVerdict::Allow)];
        let sure = spelled == "LIST -la /secret" || spelled.contains(['\t', '\x0b']);
        assert_eq!(answered(&allowed, &subject(), spelled).is_some(), sure, "{spelled}");
    }
    assert!(answered(&refused, &subject(), "LIST -la /pub").is_none());
    assert!(answered(&refused, &subject(), "LIST -la").is_none());
}

#[test]
fn an_apostrophe_leads_out_of_no_directory() {
    let secret = When { paths: Among::Of(paths(&["/secret/**"])), ..When::default() };
    let inside = Subject { directory: Some(b"/secret"), ..subject() };
    for spelled in ["RETR '/../file", "RETR 'a", "MKD '", "DELE '/x'"] {
        assert!(
            answered(&[rule(secret.clone(), refuse())], &inside, spelled).is_some(),
            "{spelled}"
        );
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

#[test]
fn a_file_of_the_servers_choice_lies_where_the_client_says_or_is() {
    let secret = When { paths: Among::Of(paths(&["/secret/**"])), ..When::default() };
    let rules = [rule(secret, refuse())];
    let mut subject = subject();
    for line in
        ["STOU /secret/x", "STOU ../secret/x", "XCRC \"/secret/a\" 0 1", "MMD5 /a,/secret/b"]
    {
        assert_eq!(answered(&rules, &subject, line), Some(refuse()), "{line}");
    }
    assert_eq!(answered(&rules, &subject, "STOU"), None);
    subject.directory = Some(b"/secret");
    assert_eq!(answered(&rules, &subject, "STOU /pub/x"), Some(refuse()), "it may be ignored");
    let public = When { paths: Among::Except(paths(&["/home/**"])), ..When::default() };
    subject.directory = Some(b"/home");
    assert_eq!(answered(&[rule(public, refuse())], &subject, "STOU"), None);
}

#[test]
fn a_listing_may_be_of_several_folders() {
    let when = When {
        commands: Among::Of(commands(&["LIST"])),
        paths: Among::Of(paths(&["/secret"])),
        ..When::default()
    };
    let rules = [rule(when, refuse())];
    assert_eq!(answered(&rules, &subject(), "LIST -l /pub /secret"), Some(refuse()));
    assert_eq!(answered(&rules, &subject(), "LIST /pub secret"), None);
}

#[test]
fn nobody_renames_what_a_refused_file_lies_in() {
    let of = |texts: &[&str]| When { paths: Among::Of(paths(texts)), ..When::default() };
    let rules = [rule(of(&["/data/secret/**", "*.exe", "/home/*/private/**"]), refuse())];
    for line in ["RNFR /data", "RNFR /data/secret", "RNFR /", "RNFR /home", "RNFR ../data/"] {
        assert_eq!(answered(&rules, &subject(), line), Some(refuse()), "{line}");
    }
    for line in ["RNFR /data/sec", "RNFR /dat", "RNFR /home/a", "RNFR /data/secrets", "RNTO /data"]
    {
        assert_eq!(answered(&rules, &subject(), line), None, "{line}");
    }
    let allowed = [rule(of(&["/data/secret/**"]), RuleVerdict::Allow)];
    assert_eq!(answered(&allowed, &subject(), "RNFR /data"), None, "not an exception");
}
