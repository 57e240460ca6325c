//! What is told about questions, and that it agrees with what sessions are told.

use super::*;
use crate::config;
use proptest::prelude::*;

const CONFIG: &str = "\
listeners:
  - { name: out, listen: '0.0.0.0:2121', capture: tproxy, policy: p, tls: { mode: intercept, required: true } }
  - { name: in, listen: '0.0.0.0:21', server: 'ftp.example:21', policy: p }
tls: { ca: { certificate: a, key: b } }
policies:
  p:
    profile: read_only
    deny: [SITE EXEC]
    anonymous: refuse
    data_protection: private
    fxp: listed
    fxp_peers: [203.0.113.0/24]
    rules:
      - { name: guests, match: { client: [192.0.2.128/25] }, verdict: close }
      - { name: inside, match: { listener: [in], command: [DELE] }, verdict: refuse, reply: 550 Not there. }
      - { name: drop, match: { user: [bob], path: ['/in/**'], login: after }, verdict: allow }
      - { name: peers, match: { command: [PORT] }, verdict: allow }
";

fn explained(words: &[&str]) -> Result<Explanation, String> {
    let config = config::parse("x.yaml", CONFIG).map_err(|problems| problems.to_string())?;
    explain(&config, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

/// The decision and the reply.
fn said(words: &[&str]) -> (String, Option<String>) {
    let explanation = explained(words).unwrap();
    (explanation.decision, explanation.reply)
}

const BOB: [&str; 6] = [
    "client=192.0.2.7",
    "server=198.51.100.2",
    "listener=out",
    "user=bob",
    "tls=secured",
    "data=private",
];

fn bob(command: &str) -> (String, Option<String>) {
    let command = format!("command={command}");
    said(&[&BOB[..], &[&command]].concat())
}

#[test]
fn every_rule_is_told_with_the_condition_that_fails() {
    let explanation =
        explained(&[&BOB[..], &["directory=/in", "command=STOR ../x"]].concat()).unwrap();
    let steps: Vec<String> = explanation
        .steps
        .iter()
        .map(|(name, why)| format!("{name}: {}", why.as_deref().unwrap_or("yes")))
        .collect();
    let expected = [
        "guests: client 192.0.2.7 is none of 192.0.2.128/25",
        "inside: listener out is none of in",
        "drop: path in the command is none of /in/**",
        "peers: command STOR is none of PORT",
        "anonymous: command STOR is none of USER",
        "data_protection: command STOR is none of PROT C, PROT S, PROT E",
        "data_protection: data is private, not clear",
        "deny: command STOR is none of SITE EXEC",
        "profile: yes",
    ];
    assert_eq!(steps, expected);
    assert_eq!(explanation.decision, "refused by rule profile");
    assert_eq!(explanation.reply.as_deref(), Some("550 Files can only be read here."));
}

#[test]
fn the_rule_that_decides_is_told_with_the_reply() {
    let words = [&BOB[..], &["directory=/in", "command=STOR x"]].concat();
    assert_eq!(said(&words), ("allowed by rule drop".to_owned(), None));
    assert_eq!(bob("RETR /x"), ("allowed: no rule applies".to_owned(), None));
    let inside = ["client=192.0.2.7", "listener=in", "tls=clear", "command=DELE x"];
    let expected = ("refused by rule inside".to_owned(), Some("550 Not there.".to_owned()));
    assert_eq!(said(&inside), expected);
    let (decision, reply) = said(&["client=192.0.2.200", "listener=in"]);
    assert_eq!(decision, "closed by rule guests");
    assert!(reply.unwrap().starts_with("421 "));
}

#[test]
fn a_user_is_the_one_who_is_asked_about() {
    let (decision, reply) =
        said(&["client=192.0.2.7", "listener=in", "user=bob", "command=USER anonymous"]);
    assert_eq!(decision, "refused by rule anonymous");
    assert_eq!(reply.as_deref(), Some("530 Anonymous logins are refused."));
}

#[test]
fn what_the_gateway_asks_itself_is_told() {
    for (command, reason, reply) in [
        ("PORT 192,0,2,9,99,1", "third_party_address", "501 "),
        ("PORT 192,0,2,7,0,20", "low_port", "504 "),
        ("EPRT |1|192.0.2.7|20|", "low_port", "504 "),
        ("EPRT |2|2001:db8::1|2000|", "network_protocol", "522 "),
        ("PORT x", "malformed_argument", "501 "),
        ("LPSV", "long_address", "502 "),
    ] {
        let (decision, got) = bob(command);
        assert_eq!(decision, format!("refused by the gateway itself: {reason}"), "{command}");
        assert!(got.clone().unwrap().starts_with(reply), "{got:?}");
    }
    for allowed in ["PORT 192,0,2,7,99,1", "PORT 203,0,113,5,99,1", "EPSV"] {
        assert_eq!(bob(allowed).1, None, "{allowed}");
    }
    let early = ["client=192.0.2.7", "listener=out", "tls=clear", "command=USER bob"];
    assert_eq!(said(&early).0, "refused by the gateway itself: tls_required");
    let early = ["client=192.0.2.7", "listener=out", "login=before", "command=EPSV"];
    assert_eq!(said(&early).0, "refused by the gateway itself: not_logged_in");
}

#[test]
fn what_is_inside_tls_from_end_to_end_is_not_judged() {
    let words = ["client=192.0.2.7", "listener=in", "tls=secured", "command=DELE x"];
    assert!(said(&words).0.starts_with("passes: inside TLS"));
}

#[test]
fn what_is_missing_is_told_as_such() {
    let explanation = explained(&["client=192.0.2.7", "listener=out", "command=LIST"]).unwrap();
    for (key, value) in [
        ("server", "not known"),
        ("user", "not known"),
        ("tls", "not known"),
        ("login", "after, as it is not given"),
        ("data", "not known"),
        ("directory", "not known"),
    ] {
        assert!(explanation.question.contains(&(key, value.to_owned())), "{explanation:?}");
    }
    let why = |name: &str| explanation.steps.iter().rfind(|(n, _)| n == name).unwrap().1.clone();
    assert_eq!(why("data_protection").as_deref(), Some("data is not known"));
    let inside = explained(&["client=192.0.2.7", "listener=in", "command=LIST"]).unwrap();
    assert!(inside.question.contains(&("server", "ftp.example, address not known".to_owned())));
}

#[test]
fn a_verb_that_looks_like_a_slip_gets_a_hint() {
    let hint = |command: &str| {
        let command = format!("command={command}");
        let asked = explained(&["client=192.0.2.7", "listener=in", &command]).unwrap();
        asked.question.into_iter().find(|(key, _)| *key == "hint").map(|(_, hint)| hint)
    };
    assert_eq!(hint("delete x").as_deref(), Some("FTP has no command DELETE: did you mean DELE?"));
    assert!(hint("GET x").unwrap().ends_with("did you mean RETR?"));
    for verb in ["DELE x", "XMKD x", "XYZZY", "mdtm x"] {
        assert_eq!(hint(verb), None, "{verb}");
    }
}

#[test]
fn a_word_without_a_value_is_told() {
    let told = explained(&["client=192.0.2.7", "listener=in", "command=", "user= "]).unwrap_err();
    for expected in [
        "`command=` has no value: write command=VALUE, or leave it out",
        "`user= ` has no value: write user=VALUE",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}

#[test]
fn every_wrong_word_is_told() {
    let told =
        explained(&["clint=x", "tls=maybe", "user", "data=clear", "data=clear"]).unwrap_err();
    for expected in [
        "`clint` is not known here: the keys are client, server",
        "`user` has no value: write user=VALUE",
        "`data` stands here twice",
        "listener is missing: write one of out, in",
        "tls: `maybe` is none of clear, secured, cleared",
        "client is missing",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let told = explained(&["client=x", "listener=y", "command=A-B"]).unwrap_err();
    for expected in ["write an IP address", "there is no `y`", "`A-B` is no verb"] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}

proptest! {
    #[test]
    fn the_rule_that_is_told_is_the_one_that_judges(
        client in prop::sample::select(vec!["192.0.2.7", "192.0.2.200", "2001:db8::1"]),
        listener in prop::sample::select(vec!["in", "out"]),
        user in prop::option::of("bob|eve|anonymous"),
        tls in prop::option::of("clear|cleared"),
        login in prop::option::of("before|after"),
        data in prop::option::of("clear|private"),
        directory in prop::option::of("/in|/|/in/../x"),
        command in "(USER|PASS|STOR|DELE|SITE|PORT|LIST|PROT|RETR|ENC|XYZ)( [a-zA-Z/.~\\\\]{0,6})?",
    ) {
        let mut words = vec![
            format!("client={client}"), format!("listener={listener}"), format!("command={command}"),
        ];
        let more = [("user", user), ("tls", tls), ("login", login), ("data", data), ("directory", directory)];
        words.extend(more.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))));
        let config = config::parse("x.yaml", CONFIG).unwrap();
        let asked = Asked::parse(&config, &words).unwrap();
        let policy = config.policies["p"].compile(listener);
        let judged = policy.judge(&asked.subject(), &asked.question()).map(|rule| rule.name.to_string());
        let explanation = explain(&config, &words).unwrap();
        let rules: Vec<String> =
            config.policies["p"].all_rules().iter().map(|rule| rule.rule.name.to_string()).collect();
        let told = explanation.steps.iter().find(|(name, why)| why.is_none() && rules.contains(name));
        prop_assert_eq!(told.map(|(name, _)| name.clone()), judged);
        prop_assert!(!explanation.decision.is_empty());
    }
}
