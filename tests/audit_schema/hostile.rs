//! Whatever peers send: one valid line for each fact, and no password in any.

use super::SECRET;
use super::reports::{begun, changed, text, transferred};
use super::schema::SCHEMA;
use super::told::{lines_of, talk, talk_from_the_start};
use ftpgate::report::{DataOutcome, Report, TransferCommand};
use ftpgate::terms::Side;
use proptest::prelude::*;

#[test]
fn hostile_names_are_one_valid_line_each() {
    let schema = &*SCHEMA;
    let hostile: &[(&[u8], &str)] = &[
        (b"a\x1b]0;title\x07\x1b[2J", r"a\x1b]0;title\x07\x1b[2J"),
        (br#"","user":"root"},{"event":"login"#, r#"","user":"root"},{"event":"login"#),
        (br#"\",""#, r#"\\",""#),
        ("a\u{202e}gpj.exe\u{2066}".as_bytes(), r"a\xe2\x80\xaegpj.exe\xe2\x81\xa6"),
        (
            "\u{2028}\u{2029}\u{85}\u{feff}".as_bytes(),
            r"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85\xef\xbb\xbf",
        ),
        (b"\xc3\x28\xf5\x80", r"\xc3(\xf5\x80"),
        (b"a\nb\r\n{\"event\":\"x\"}\0", r#"a\x0ab\x0d\x0a{"event":"x"}\x00"#),
    ];
    for (name, shown) in hostile {
        let mut reports = begun();
        reports.push(Report::LoginAccepted { user: text(name) });
        reports.push(changed("RNTO", text(name), Some(250)));
        let command = TransferCommand { verb: "STOR", path: text(name) };
        reports.push(transferred(Some(command), DataOutcome::Completed));
        let lines = lines_of(&reports);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        for line in &lines {
            schema.check(line);
            assert_eq!(line["user"], *shown);
        }
        assert_eq!((&lines[1]["path"], &lines[1]["from"]), (&(*shown).into(), &(*shown).into()));
        assert_eq!(lines[2]["path"], *shown);
    }
    let long = vec![0xfe; 100_000];
    let lines = lines_of(&[changed("DELE", text(&long), Some(250))]);
    schema.check(&lines[0]);
    assert_eq!(lines[0]["path_length"], 100_000);
}

#[test]
fn what_looks_like_two_lines_on_the_wire_is_one_in_the_audit() {
    let schema = &*SCHEMA;
    // Telnet's CR NUL and its escapes, a bare LF, a name that never ends.
    for name in
        [&b"a\xff\xff\xff\xfbxb"[..], b"a\rb", b"a\r\0b", b"a\0b", b"a\nDELE b", &[b'x'; 100_000]]
    {
        let command = [b"DELE ", name, b"\r\n"].concat();
        let lines = lines_of(&talk(&[(Side::Client, &command), (Side::Server, b"250 ok\r\n")]));
        lines.iter().for_each(|line| drop(schema.check(line)));
        let of = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
        assert_eq!((of("login"), of("session_end")), (1, 1), "{lines:#?}");
        assert!(of("change") <= 2, "{lines:#?}");
    }
}

/// A command with a password in its argument, in the forms that servers take.
fn secret_command() -> impl Strategy<Value = Vec<u8>> {
    let verb =
        prop::sample::select(vec!["PASS", "pass", "PaSs", "ACCT", " PASS", "\tacct", "\u{0}PASS"]);
    let gap = prop::sample::select(vec![" ", "  ", "\t", " x ", " new/"]);
    let end = prop::sample::select(vec!["\r\n", "\n", " \r\n", "/new\r\n"]);
    (verb, gap, end).prop_map(|(verb, gap, end)| format!("{verb}{gap}{SECRET}{end}").into_bytes())
}

/// Something that is said in a session.
fn said() -> impl Strategy<Value = (Side, Vec<u8>)> {
    let command = prop::sample::select(vec![
        "USER anna",
        "USER bella",
        "REIN",
        "AUTH TLS",
        "AUTH GSSAPI",
        "RNFR a",
        "RNTO b",
        "DELE c",
        "SITE PSWD x s3cr3t",
        "SITE CHMOD 1 a",
        "PORT 1,2,3,4,5,6",
        "EPSV",
        "ACCT",
        "PASS",
        "QUIT",
    ]);
    let reply = prop::sample::select(vec![
        "220 ready",
        "230 in",
        "331 go on",
        "332 account",
        "350 go on",
        "250 ok",
        "503 USER first",
        "530-no\r\n530 no",
        "421 bye",
        "234 tls",
        "229 ok (|||6446|)",
        "150 here",
    ]);
    let line = |text: &str| format!("{text}\r\n").into_bytes();
    prop_oneof![
        3 => secret_command().prop_map(|bytes| (Side::Client, bytes)),
        3 => command.prop_map(move |text| (Side::Client, line(text))),
        6 => reply.prop_map(move |text| (Side::Server, line(text))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_order_of_commands_brings_a_password_into_the_audit(
        said in prop::collection::vec(said(), 0..24),
    ) {
        let said: Vec<_> = said.iter().map(|(from, bytes)| (*from, bytes.as_slice())).collect();
        let greeted = [&[(Side::Server, &b"220 ready\r\n"[..])], said.as_slice()].concat();
        let schema = &*SCHEMA;
        for said in [said, greeted] {
            for line in lines_of(&talk_from_the_start(&said)) {
                schema.check(&line);
                prop_assert!(!line.to_string().contains(SECRET), "{line}");
            }
        }
    }
}
