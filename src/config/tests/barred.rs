//! Keys that together leave nobody anything, and those that leave something.

use super::*;

/// A listener of these keys with a policy of these, on line 4.
fn pair(listener: &str, keys: &str) -> String {
    format!("listeners:\n  - {{ {listener}, policy: p }}\npolicies:\n  p: {keys}\n")
}

const CERTIFICATE: &str = "tls: { certificate: { chain: a, key: b } }\n";
const DIALLED: &str = "capture: tproxy";
const CLEAR: &str = "server: 'h:21', tls: { mode: refuse }";
const OFFLOAD: &str = "server: 'h:21', tls: { mode: offload, required: true }";

#[rstest]
#[case(
    CLEAR,
    "{ data_protection: private }",
    "data_protection",
    "has tls.mode: refuse, where clients have no TLS"
)]
#[case(
    "server: 'h:21', tls: { mode: originate }",
    "{ data_protection: private }",
    "data_protection",
    "write any, or mode: intercept there"
)]
#[case(
    OFFLOAD,
    "{ data_protection: private, deny: [PROT] }",
    "data_protection",
    "refuses PROT P, so that"
)]
#[case(
    "server: 'h:21'",
    "{ data_protection: private, deny: [AUTH] }",
    "data_protection",
    "refuses AUTH, so that"
)]
#[case(OFFLOAD, "{ deny: [AUTH] }", "deny", "has tls.required, so that nobody could log in")]
#[case(
    DIALLED,
    "{ servers: [ftp.example] }",
    "servers",
    "server: original, where no name is known"
)]
#[case(
    CLEAR,
    "{ allow_only: [RETR, CWD], profile: upload_only }",
    "profile",
    "allow_only and profile together refuse every transfer and listing (APPE, LIST, MLSD, NLST, RETR, STOR, STOU)"
)]
#[case(
    CLEAR,
    "{ deny: [RETR, LIST, NLST, MLSD], profile: read_only }",
    "profile",
    "deny and profile together"
)]
#[case(
    CLEAR,
    "{ active: refuse, deny: [PASV, EPSV] }",
    "deny",
    "every way to agree on a data connection (EPRT,"
)]
fn what_leaves_nobody_anything_is_told(
    #[case] listener: &str,
    #[case] keys: &str,
    #[case] key: &str,
    #[case] words: &str,
) {
    let text = pair(listener, keys) + CERTIFICATE;
    only(&text, 4, &format!("policies.p.{key}"), words);
}

/// What leaves somebody something, and what the owner says in one word.
#[rstest]
#[case(
    CLEAR,
    "{ data_protection: private, rules: [{ name: a, verdict: allow, match: { command: [RETR] } }] }"
)]
#[case("server: 'h:21'", "{ data_protection: private }")]
#[case(
    "server: 'h:21', tls: { client_start: implicit, server_start: implicit }",
    "{ data_protection: private, deny: [AUTH] }"
)]
#[case(OFFLOAD, "{ data_protection: private, deny: [PROT C] }")]
#[case(DIALLED, "{ servers: [198.51.100.0/24, ftp.example] }")]
#[case(
    DIALLED,
    "{ servers: [ftp.example], rules: [{ name: a, verdict: allow, match: { client: [10.0.0.0/8] } }] }"
)]
#[case("server: 'h:21'", "{ servers: [h] }")]
#[case("server: 'h:21'", "{ servers: [198.51.100.0/24] }")]
#[case("server: 'h:21'", "{ servers: [ftp.example] }")]
#[case("server: '192.0.2.1:21'", "{ servers: [198.51.100.0/24] }")]
#[case(CLEAR, "{ allow_only: [CWD, SIZE] }")]
#[case(CLEAR, "{ deny: [RETR, LIST, NLST, MLSD, STOR, STOU, APPE] }")]
#[case(CLEAR, "{ allow_only: [STOR], profile: upload_only }")]
#[case(CLEAR, "{ rules: [{ name: closed, verdict: close, reply: 421 Tomorrow. }] }")]
fn what_leaves_something_is_let_be(#[case] listener: &str, #[case] keys: &str) {
    let more = if listener == OFFLOAD { CERTIFICATE } else { "" };
    if let Err(problems) = parse("x", &(pair(listener, keys) + more)) {
        panic!("{problems}");
    }
}
