//! What is wrong with policies, and what good ones mean.

use super::*;
use crate::policy::{Among, CommandPattern, Fxp, Question, RuleVerdict, Subject, TlsState, When};

/// A policy of these keys, from line 3 on.
fn policy(keys: &str) -> String {
    with(&format!("policies:\n  default: {keys}"))
}

fn good(keys: &str) -> PolicyConfig {
    match parse("x", &policy(keys)) {
        Ok(config) => config.policies["default"].clone(),
        Err(problems) => panic!("{problems}"),
    }
}

/// A rule of these keys.
fn rule(keys: &str) -> String {
    format!("{{ rules: [{{ name: a, verdict: refuse, {keys} }}] }}")
}

#[test]
fn every_key_of_a_policy_is_read() {
    let read = good(
        "{ strict: true, low_ports: true, profile: read_only, deny: [dele, SITE EXEC], allow_only: \
         [RETR], paths: { deny: ['*.EXE'], allow_only: ['/pub/**'], ignore_case: true }, anonymous: \
         refuse, servers: [192.0.2.0/24, '*.bank.example'], active: refuse, fxp: listed, fxp_peers: \
         [198.51.100.0/24], data_protection: private, ccc: after_login }",
    );
    let shown: Vec<String> = read.deny.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["DELE", "SITE EXEC"]);
    assert!(read.strict && read.low_ports && read.paths.ignore_case);
    assert!(read.paths.deny[0].matches(b"/a/b.exe"));
    assert_eq!((read.profile, read.fxp), (Profile::ReadOnly, FxpChoice::Listed));
    assert_eq!((read.anonymous, read.active), (Permission::Refuse, Permission::Refuse));
    assert_eq!((read.data_protection, read.ccc), {
        (DataProtection::Private, CccChoice::AfterLogin)
    });
    assert_eq!((read.servers.len(), read.allow_only.len()), (2, 1));
    assert!(matches!(read.compile("main").fxp, Fxp::Listed(networks) if networks.len() == 1));
    assert_eq!(good("{ fxp: same_net }").compile("main").fxp, Fxp::SameNet);
}

#[test]
fn a_policy_that_says_nothing_has_no_rule() {
    assert_eq!(good("{}").compile("main"), crate::policy::Policy::default());
    assert!(!good("{ servers: [192.0.2.0/24] }").judges_commands());
    assert!(good("{ deny: [DELE] }").judges_commands());
}

#[test]
fn every_key_of_a_rule_is_read() {
    let read = good(
        "{ rules: [{ name: a, match: { client: [192.0.2.0/24], not_server: [ftp.example], listener: \
         [main], user: ['b*'], tls: clear, login: after, data: private, not_command: [RETR], path: \
         ['/x'] }, verdict: close, reply: '421 Go away.' }] }",
    );
    let RuleVerdict::Close(reply) = &read.rules[0].rule.verdict else { panic!("{read:?}") };
    assert_eq!(reply.to_string(), "421 Go away.");
    let when = &read.rules[0].rule.when;
    assert!(matches!(&when.clients, Among::Of(networks) if networks.len() == 1));
    assert!(matches!(&when.servers, Among::Except(servers) if servers.len() == 1));
    assert!(matches!(&when.commands, Among::Except(commands) if commands.len() == 1));
    assert_eq!(when.tls, Some(vec![TlsState::Clear]));
    assert_eq!((when.logged_in, when.data_private), (Some(true), Some(true)));
    assert_eq!(read.compile("main").rules.len(), 1);
    assert_eq!(read.compile("other").rules.len(), 0);
}

#[rstest]
#[case("{ deny: [DELETE] }", "deny", "FTP has no command `DELETE`: did you mean DELE?")]
#[case("{ deny: [get] }", "deny", "did you mean RETR?")]
#[case("{ allow_only: [RETR, LIS] }", "allow_only", "did you mean LIST?")]
#[case("{ allow_only: [chmod] }", "allow_only", "did you mean SITE CHMOD?")]
#[case("{ deny: [DELETE, 'A-B', LIST, get] }", "deny", "mean DELE?; `A-B` is no command")]
#[case(
    "{ deny: [DELETE, get] }",
    "deny",
    "mean DELE?; FTP has no command `get`: did you mean RETR?"
)]
#[case(
    "{ servers: ['ftp/x', 192.0.2.1, '10.0.0.1/8'] }",
    "servers",
    "; `10.0.0.1/8` has bits behind"
)]
#[case("{ deny: ['A-B'] }", "deny", "`A-B` is no command")]
#[case("{ deny: DELE }", "deny", "needs a list of commands")]
#[case("{ deny: [DELE, dele] }", "deny", "stands here twice")]
#[case("{ deny: [XRMD, USER] }", "deny", "no client could do without USER")]
#[case("{ profile: readonly }", "profile", "write all, read_only or upload_only")]
#[case("{ anonymous: false }", "anonymous", "write allow or refuse")]
#[case("{ paths: { deny: ['a\\'] } }", "paths.deny", "`\\\\` for a backslash")]
#[case("{ paths: { allow_only: [''] } }", "paths.allow_only", "is empty")]
#[case("{ paths: { allow_only: [pub/x] } }", "paths.allow_only", "write \"/pub/x\"")]
#[case("{ fxp: listed }", "fxp", "nobody is listed")]
#[case("{ fxp_peers: [192.0.2.1] }", "fxp_peers", "used by fxp: listed alone")]
#[case("{ servers: ['ftp/x'] }", "servers", "neither a network nor a name")]
#[case("{ rules: [{ verdict: allow, match: { user: [x] } }] }", "rules[0].name", "no name")]
#[case("{ rules: [{ name: a, match: { user: [x] } }] }", "rules[0].verdict", "no verdict")]
#[case("{ rules: [{ name: deny, verdict: allow }] }", "rules[0].name", "of the key `deny`")]
#[case(&rule("reply: 200 Fine."), "rules[0].reply", "no reply that refuses")]
#[case(&rule("reply: '550 ä'"), "rules[0].reply", "printable ASCII")]
#[case(&rule("match: { client: [10.0.0.0/8], not_client: [10.0.0.1] }"), "rules[0].match.not_client",
    "stands beside `client`")]
#[case(&rule("match: { listener: [out] }"), "rules[0].match.listener", "no listener `out`: write main")]
#[case(&rule("match: { tls: [open] }"), "rules[0].match.tls", "write clear, secured or cleared")]
#[case(&rule("match: { command: [STOR, SITE CHMOD], path: ['/x'] }"), "rules[0].match.path",
    "no path is looked for in SITE CHMOD")]
#[case(&rule("match: { comand: [STOR] }"), "rules[0].match.comand", "did you mean `command`?")]
fn a_problem_is_told_with_its_key(#[case] keys: &str, #[case] key: &str, #[case] words: &str) {
    only(&policy(keys), 3, &format!("policies.default.{key}"), words);
}

#[test]
fn a_reply_of_what_is_allowed_is_the_servers() {
    let text = policy("{ rules: [{ name: a, verdict: allow, reply: 550 No. }] }");
    only(&text, 3, "policies.default.rules[0].reply", "the server answers what is allowed");
}

#[test]
fn private_commands_are_taken_as_they_are() {
    let read = good("{ deny: [RMDA, XSHA384, PRET, THMB, SITE FOO] }");
    assert_eq!(read.deny.len(), 5);
}

#[test]
fn all_problems_of_a_policy_come_together() {
    let found = problems(&policy(
        "{ deny: [DELETE], fxp: listed, rules: [{ name: a, verdict: refuse, match: { command: \
         [LIS] } }, { name: a, verdict: maybe }] }",
    ));
    let keys: Vec<&str> =
        found.iter().map(|(_, key, _)| key.trim_start_matches("policies.default.")).collect();
    let expected = ["deny", "fxp", "rules[0].match.command", "rules[1].name", "rules[1].verdict"];
    assert_eq!(keys, expected);
}

#[rstest]
#[case("match: { client: [10.0.0.0/8] }", "match: { client: [10.0.0.0/8], user: [bob] }", true)]
#[case("match: { client: [10.0.0.0/8] }", "match: { user: [bob] }", false)]
#[case("match: { command: [DELE] }", "match: { command: [DELE], login: after }", true)]
#[case("match: { command: [DELE] }", "match: { command: [DELE, RMD] }", false)]
#[case("login: x", "match: { command: [DELE] }", false)]
#[case("", "match: { command: [DELE] }", true)]
#[case("", "match: { command: [AUTH] }", false)]
#[case("match: { path: [/a] }", "match: { path: [/a], user: [x] }", true)]
#[case("match: { path: [/a] }", "match: { path: [/a], command: [CWD] }", false)]
#[case("match: { listener: [main] }", "match: { user: [x] }", false)]
fn a_rule_that_is_never_reached_is_told(
    #[case] one: &str,
    #[case] two: &str,
    #[case] expected: bool,
) {
    let text = policy(&format!(
        "{{ rules: [{{ name: a, verdict: refuse, {one} }}, {{ name: b, verdict: refuse, {two} }}] }}"
    ));
    let told = match parse("x", &text) {
        Ok(_) => false,
        Err(problems) => {
            problems.iter().any(|p| p.message().contains("for rule `a` above applies wherever"))
        }
    };
    assert_eq!(told, expected);
}

#[test]
fn a_listener_with_another_policy_is_told() {
    let text = "listeners: [{ server: 'h:21', policy: p }]\npolicies:\n  p: {}\n  q: { rules: [{ \
                name: a, verdict: refuse, match: { listener: [main] } }] }\n";
    only(text, 4, "policies.q.rules[0].match.listener", "`main` has policy p, not this one");
}

fn subject() -> Subject<'static> {
    Subject {
        client: "192.0.2.2".parse().unwrap(),
        server: Some("198.51.100.2".parse().unwrap()),
        server_name: None,
        user: Some(b"bob"),
        logged_in: true,
        tls: Some(TlsState::Clear),
        data_private: Some(false),
        directory: Some(b"/"),
    }
}

/// The rule that answers a command, and its reply.
fn answer(keys: &str, subject: &Subject<'_>, line: &str) -> Option<(String, String)> {
    let policy = good(keys).compile("main");
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let question = match line {
        "" => Question::Connect,
        _ => Question::Command { verb: verb.as_bytes(), argument: argument.as_bytes() },
    };
    let rule = policy.judge(subject, &question)?;
    let reply = match &rule.verdict {
        RuleVerdict::Allow => "allow".to_owned(),
        RuleVerdict::Refuse(reply) | RuleVerdict::Close(reply) => reply.to_string(),
    };
    Some((rule.name.to_string(), reply))
}

#[rstest]
#[case("{ profile: read_only }", "profile", "550",
    &["STOR a", "APPE a", "STOU", "DELE a", "XMKD a", "RMD a", "RNFR a", "RNTO a", "MFMT 20200101000000 a",
      "MDTM 20200101000000 a", "MFF UNIX.mode=0777; a", "SITE CHMOD 777 a", "COMB a b", "SMNT a", "XYZZY a"],
    &["RETR a", "LIST", "MLSD", "SIZE a", "MDTM a", "XCWD a", "SITE HELP", "USER bob", "PASV", "QUIT"])]
#[case("{ profile: upload_only }", "profile", "550",
    &["RETR a", "DELE a", "RMD a", "RNFR a", "RNTO a", "SITE CHMOD 777 a", "XCRC a", "RANG 0 1", "XYZZY"],
    &["STOR a", "APPE a", "STOU", "MKD a", "LIST", "MFMT 20200101000000 a", "REST 5", "ALLO 5", "PASS x"])]
#[case("{ profile: read_only }", "enclosed", "533", &["ENC abc", "MIC abc", "CONF abc"], &[])]
#[case("{ deny: [SITE EXEC, DELE] }", "deny", "502", &["site exec x", "DELE a"], &["SITE HELP", "RMD a"])]
#[case("{ allow_only: [RETR, SITE HELP] }", "allow_only", "502", &["LIST", "SITE UTIME", "XYZZY"],
    &["RETR a", "SITE HELP", "USER x", "PWD", "TYPE I", "EPSV"])]
#[case("{ paths: { deny: ['/secret/**'] } }", "paths.deny", "550", &["RETR secret/a", "DELE /x/../secret/a"],
    &["RETR a", "LIST /secret/a"])]
#[case("{ paths: { allow_only: ['/pub/**'] } }", "paths.allow_only", "550", &["RETR a", "RNTO /pub/../a"],
    &["RETR pub/a", "CWD /"])]
#[case("{ anonymous: refuse }", "anonymous", "530", &[], &["PASS x"])]
#[case("{ active: refuse }", "active", "502", &["PORT 192,0,2,2,9,9", "EPRT |1|192.0.2.2|999|", "LPRT x"],
    &["PASV", "EPSV"])]
#[case("{ data_protection: private }", "data_protection", "521", &["RETR a", "LIST", "STOR a", "MLSD"],
    &["PROT P", "PASV", "SIZE a"])]
#[case("{ data_protection: private }", "data_protection", "534", &["PROT C", "prot c"], &[])]
#[case("{ ccc: refuse }", "ccc", "534", &["CCC"], &["RETR a"])]
#[case("{ ccc: after_login }", "ccc", "533", &[], &["CCC"])]
#[case("{ servers: [203.0.113.0/24] }", "servers", "421", &["", "USER bob", "RETR a"], &[])]
#[case("{ servers: [198.51.100.0/24] }", "servers", "421", &[], &["", "USER bob"])]
fn keys_mean_rules(
    #[case] keys: &str,
    #[case] name: &str,
    #[case] code: &str,
    #[case] refused: &[&str],
    #[case] allowed: &[&str],
) {
    for line in refused {
        let (rule, reply) = answer(keys, &subject(), line).unwrap_or_else(|| panic!("{line}"));
        assert_eq!((rule.as_str(), &reply[..3]), (name, code), "{line}");
    }
    for line in allowed {
        assert_eq!(answer(keys, &subject(), line), None, "{line}");
    }
}

#[test]
fn what_is_known_of_a_session_decides() {
    let anonymous = Subject { user: Some(b"Anonymous"), logged_in: false, ..subject() };
    let reply = answer("{ anonymous: refuse }", &anonymous, "USER Anonymous").unwrap().1;
    assert_eq!(reply, "530 Anonymous logins are refused.");
    let early = Subject { logged_in: false, ..subject() };
    assert!(answer("{ ccc: after_login }", &early, "CCC").is_some());
    let private = Subject { data_private: Some(true), ..subject() };
    assert_eq!(answer("{ data_protection: private }", &private, "RETR a"), None);
}

#[test]
fn rules_are_asked_ahead_of_keys() {
    let keys =
        "{ profile: read_only, rules: [{ name: admin, match: { user: [bob] }, verdict: allow }] }";
    assert_eq!(answer(keys, &subject(), "DELE a").unwrap().0, "admin");
    let other = Subject { user: Some(b"eve"), ..subject() };
    assert_eq!(answer(keys, &other, "DELE a").unwrap().0, "profile");
}

#[rstest]
#[case("match: { client: [192.0.2.0/24] }", "", "421")]
#[case("match: { user: [bob] }", "USER bob", "530")]
#[case("match: { command: [USER, PASS], tls: clear }", "USER bob", "530")]
#[case("match: { path: ['/x'] }", "RETR x", "550")]
#[case("match: { command: [STOR, APPE] }", "STOR x", "550")]
#[case("match: { command: [SITE] }", "SITE x", "502")]
#[case("match: { not_command: [RETR] }", "LIST", "502")]
fn a_rule_without_reply_has_the_code_that_fits(
    #[case] when: &str,
    #[case] line: &str,
    #[case] code: &str,
) {
    assert_eq!(&answer(&rule(when), &subject(), line).unwrap().1[..3], code);
}

#[test]
fn every_key_has_a_rule_of_its_name() {
    let config = PolicyConfig {
        profile: Profile::ReadOnly,
        deny: vec![CommandPattern::parse("DELE").unwrap()],
        ..good("{ ccc: refuse, active: refuse, anonymous: refuse, data_protection: private }")
    };
    let names: Vec<String> = config.all_rules().iter().map(|r| r.rule.name.to_string()).collect();
    let expected = [
        "anonymous",
        "ccc",
        "active",
        "data_protection",
        "data_protection",
        "deny",
        "profile",
        "enclosed",
    ];
    assert_eq!(names, expected);
    assert!(config.all_rules().iter().all(|rule| rule.rule.when != When::default()));
}
