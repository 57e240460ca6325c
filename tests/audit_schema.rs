//! The lines of the audit are as `docs/audit.schema.json` says, whatever peers send, and no password is
//! in them.

#![allow(clippy::unwrap_used, reason = "a test tells by panicking")]

use ftpgate::addr::{ByOwn, OriginalDst};
use ftpgate::report::{
    Answer, CccOutcome, CloseCause, Connection, ControlProtection, DataOutcome, PeerText, Refusal,
    Report, TlsFault, TlsVersion, TransferCommand,
};
use ftpgate::session::{Action, Event, Parties, Session, Settings};
use ftpgate::telemetry::{AuditPlaces, Telemetry};
use ftpgate::terms::{
    ByteCounts, DataMode, DataPath, ProtectionLevel, SessionId, Side, TransferId,
};
use proptest::prelude::*;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// What no line may have.
const SECRET: &str = "s3cr3t";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn document(name: &str) -> String {
    std::fs::read_to_string(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The lines that `reports` of one session lead to.
fn lines_of(reports: &[Report]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let places = AuditPlaces { file: Some(&path), ..AuditPlaces::default() };
    let telemetry = Telemetry::new().with_audit(places).unwrap();
    let session = telemetry.listener("out").session(SessionId(7));
    reports.iter().for_each(|report| session.record(report));
    assert!(telemetry.flush_audit(Duration::from_secs(10)));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    text.split_terminator('\n').map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The part of JSON Schema that `docs/audit.schema.json` is written in.
struct Schema(Value);

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema(serde_json::from_str(&document("audit.schema.json")).unwrap()));

impl Schema {
    fn properties(of: &Value) -> &Map<String, Value> {
        of["properties"].as_object().unwrap()
    }

    /// The part about one event.
    fn event(&self, name: &str) -> &Value {
        let reference = format!("#/$defs/{name}");
        let branches = self.0["oneOf"].as_array().unwrap();
        assert!(branches.iter().any(|branch| branch["$ref"] == reference.as_str()), "{name}");
        let event = &self.0["$defs"][name];
        assert_eq!(event["properties"]["event"]["const"], name);
        event
    }

    fn events(&self) -> BTreeSet<&str> {
        words(&self.0["properties"]["event"])
    }

    /// All properties, as `event/key`, those of every line as `/key`.
    fn keys(&self) -> BTreeSet<String> {
        let of = |event: &str, part: &Value| -> Vec<String> {
            let keys =
                Self::properties(part).keys().filter(|key| event.is_empty() || *key != "event");
            keys.map(|key| format!("{event}/{key}")).collect()
        };
        let events = self.events();
        let own = events.iter().flat_map(|event| of(event, self.event(event)));
        own.chain(of("", &self.0)).collect()
    }

    /// Asserts that the line is valid, and that it has nothing that the schema does not name. The keys
    /// that it has, as in [`Self::keys`].
    fn check(&self, line: &Value) -> BTreeSet<String> {
        let event = line["event"].as_str().unwrap();
        let own = self.event(event);
        let mut keys = BTreeSet::new();
        for (prefix, part) in [(event, own), ("", &self.0)] {
            for key in part["required"].as_array().into_iter().flatten() {
                assert!(line.get(key.as_str().unwrap()).is_some(), "{key} is missing: {line}");
            }
            for (key, rule) in Self::properties(part) {
                if let Some(value) = line.get(key) {
                    check_value(rule, value, line);
                    // Of an event it only says which one.
                    if prefix.is_empty() || key != "event" {
                        keys.insert(format!("{prefix}/{key}"));
                    }
                }
            }
        }
        for key in line.as_object().unwrap().keys() {
            let named =
                keys.contains(&format!("/{key}")) || keys.contains(&format!("{event}/{key}"));
            assert!(named, "the schema does not name {key}: {line}");
        }
        keys
    }
}

fn check_value(rule: &Value, value: &Value, line: &Value) {
    let rule = rule.as_object().unwrap();
    for (word, bound) in rule {
        let holds = match word.as_str() {
            "description" | "format" => true,
            "const" => value == bound,
            "enum" => bound.as_array().unwrap().contains(value),
            "minimum" => value.as_f64() >= bound.as_f64(),
            "maximum" => value.as_f64() <= bound.as_f64(),
            "type" => match bound.as_str().unwrap() {
                "string" => value.is_string(),
                "integer" => value.is_u64(),
                "number" => value.is_number(),
                "boolean" => value.is_boolean(),
                other => panic!("the type {other} is not known here"),
            },
            other => panic!("the word {other} is not known here"),
        };
        assert!(holds, "{value} is not {word} {bound}: {line}");
    }
}

fn words(rule: &Value) -> BTreeSet<&str> {
    rule["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

fn text(bytes: &[u8]) -> Option<PeerText> {
    Some(PeerText::new(bytes))
}

/// Longer than what is kept of a peer's text.
fn long() -> PeerText {
    PeerText::new(&[b'x'; 5000])
}

/// The beginning of each session.
fn begun() -> Vec<Report> {
    vec![
        Report::SessionStarted {
            client: at("192.0.2.2:40000"),
            original_dst: OriginalDst(at("[2001:db8::1]:21")),
        },
        Report::ServerConnected {
            server: at("198.51.100.1:21"),
            seen_as: at("203.0.113.7:40001"),
            elapsed: Duration::ZERO,
        },
    ]
}

fn transferred(command: Option<TransferCommand>, outcome: DataOutcome) -> Report {
    Report::DataConnectionEnded {
        transfer: TransferId(1),
        bytes: command.is_some().then_some(ByteCounts { upload: 3, download: u64::MAX }),
        command,
        path: DataPath::Relay,
        mode: DataMode::Passive,
        protection: ProtectionLevel::Private,
        outcome,
        duration: Duration::from_millis(1500),
    }
}

fn handshake(side: Side, fault: Option<TlsFault>) -> Report {
    Report::HandshakeEnded {
        side,
        connection: Connection::Control,
        version: fault.is_none().then_some(TlsVersion::Tls13),
        resumed: false,
        fault,
    }
}

fn changed(verb: &'static str, path: Option<PeerText>, code: Option<u16>) -> Report {
    Report::ChangeEnded { verb, renamed: path.clone(), path, code }
}

/// A session of every kind of line, with everything that can stand in one.
fn everything() -> Vec<Report> {
    let all = ProtectionLevel::Clear;
    let mut reports =
        vec![Report::Refused { verb: "PASS", reason: Refusal::TlsRequired, rule: None }];
    reports.extend(begun());
    reports.push(Report::LoginRefused { user: text(b"mallory"), code: 530 });
    reports.push(Report::LoginRefused { user: None, code: 503 });
    reports.push(Report::LoginAccepted { user: None });
    reports.push(Report::LoginAccepted { user: Some(long()) });
    reports.push(Report::ClientCertificateAccepted { subject: long() });
    reports.push(Report::NameAsked { name: long() });
    reports.push(handshake(Side::Client, None));
    reports.extend(TlsFault::ALL.iter().map(|fault| handshake(Side::Client, Some(*fault))));
    for (checked, fault) in [(true, None), (false, None), (true, Some(TlsFault::WrongName))] {
        reports.push(Report::ServerCertificateShown { subject: long(), checked, fault });
        reports.push(handshake(Side::Server, fault));
    }
    reports.extend(
        ControlProtection::ALL.iter().map(|state| Report::ProtectionChanged { state: *state }),
    );
    for outcome in CccOutcome::ALL {
        reports.push(Report::CccObserved { outcome: *outcome, passed: None });
        reports.push(Report::CccObserved { outcome: *outcome, passed: Some(3) });
    }
    let verb = "STOR";
    for outcome in DataOutcome::ALL {
        reports.push(transferred(None, *outcome));
        reports.push(transferred(Some(TransferCommand { verb, path: None }), *outcome));
        reports.push(transferred(Some(TransferCommand { verb, path: Some(long()) }), *outcome));
    }
    reports.push(Report::DataConnectionEnded {
        transfer: TransferId(2),
        command: None,
        path: DataPath::Kernel,
        mode: DataMode::Active,
        protection: all,
        outcome: DataOutcome::Completed,
        bytes: None,
        duration: Duration::ZERO,
    });
    reports.push(changed("RNTO", Some(long()), Some(250)));
    reports.push(changed("DELE", None, None));
    let refused = |reason: &Refusal| Report::Refused { verb: "PORT", reason: *reason, rule: None };
    reports.extend(Refusal::ALL.iter().map(refused));
    let (reason, rule) = (Refusal::Policy, Some("no deletion".into()));
    reports.push(Report::Refused { verb: "DELE", reason, rule });
    // More than are written.
    reports.extend(std::iter::repeat_n(refused(&Refusal::LowPort), 100));
    let duration = Duration::from_secs(3);
    reports.push(Report::SessionRefused {
        client: at("192.0.2.2:40000"),
        original_dst: OriginalDst(at("[2001:db8::1]:21")),
        cause: CloseCause::TooManySessions,
        duration,
    });
    reports.extend(
        CloseCause::ALL.iter().map(|cause| Report::SessionEnded { cause: *cause, duration }),
    );
    reports
}

#[test]
fn every_kind_of_line_is_as_the_schema_says_and_the_schema_has_nothing_else() {
    let schema = &*SCHEMA;
    let mut seen = BTreeSet::new();
    for line in lines_of(&everything()) {
        seen.extend(schema.check(&line));
    }
    assert_eq!(seen, schema.keys());
}

#[test]
fn the_words_of_the_schema_are_the_codes() {
    fn labels<T: Copy>(all: &[T], label: impl Fn(T) -> &'static str) -> BTreeSet<&'static str> {
        all.iter().map(|word| label(*word)).collect()
    }
    let with = |mut all: BTreeSet<&'static str>, more: &[&'static str]| {
        all.extend(more);
        all
    };
    let schema = &*SCHEMA;
    let of = |event: &str, key: &str| words(&schema.event(event)["properties"][key]);
    let answers = labels(Answer::ALL, Answer::label);
    assert_eq!(
        words(&schema.0["properties"]["control"]),
        labels(ControlProtection::ALL, ControlProtection::label)
    );
    assert_eq!(with(of("login", "outcome"), &["unanswered"]), answers);
    assert_eq!(of("change", "outcome"), answers);
    assert_eq!(of("refusal", "reason"), labels(Refusal::ALL, Refusal::label));
    assert_eq!(of("session_end", "reason"), labels(CloseCause::ALL, CloseCause::label));
    assert_eq!(of("ccc", "outcome"), labels(CccOutcome::ALL, CccOutcome::label));
    let faults = labels(TlsFault::ALL, TlsFault::label);
    assert_eq!(of("tls", "outcome"), with(faults.clone(), &["completed"]));
    assert!(of("tls", "verification").is_subset(&with(faults, &["verified", "unchecked"])));
    assert_eq!(of("tls", "version"), labels(TlsVersion::ALL, TlsVersion::label));
    assert_eq!(of("tls", "connection"), labels(Connection::ALL, Connection::label));
    assert_eq!(of("tls", "side"), labels(&[Side::Client, Side::Server], Side::label));
    assert_eq!(of("transfer", "outcome"), labels(DataOutcome::ALL, DataOutcome::label));
    assert_eq!(
        of("transfer", "mode"),
        labels(&[DataMode::Active, DataMode::Passive], DataMode::label)
    );
    assert_eq!(
        of("transfer", "data_path"),
        labels(&[DataPath::Kernel, DataPath::Relay], DataPath::label)
    );
    let verbs = ftpgate::ftp::Verb::ALL;
    let moving: BTreeSet<_> =
        verbs.iter().filter(|verb| verb.transfers_data()).map(|verb| verb.label()).collect();
    assert_eq!(of("transfer", "verb"), moving);
    // Those that change something are what a session tells as changes.
    let changing: BTreeSet<_> = verbs
        .iter()
        .filter(|verb| {
            let line = format!("{} 20261121113000 a\r\n", verb.label());
            let reports = talk(&[(Side::Client, line.as_bytes()), (Side::Server, b"550 no\r\n")]);
            reports.iter().any(|report| matches!(report, Report::ChangeEnded { .. }))
        })
        .map(|verb| verb.label())
        .collect();
    assert_eq!(of("change", "verb"), changing);
}

#[test]
fn the_documentation_names_every_event_and_key() {
    let (schema, text) = (&*SCHEMA, document("audit.md"));
    for event in schema.events() {
        assert!(text.contains(&format!("| `{event}` |")), "{event}");
    }
    for key in schema.keys() {
        let key = key.split('/').nth(1).unwrap();
        assert!(text.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn what_the_documentation_says_of_site_is_so() {
    let text = document("audit.md");
    let list = text.split("is told of ").nth(1).unwrap().split("; of any other").next().unwrap();
    let words = list.split(|c: char| !c.is_ascii_uppercase()).filter(|word| !word.is_empty());
    let told_of = |word: &str| {
        let line = format!("SITE {word} a {SECRET}\r\n");
        let lines =
            lines_of(&talk(&[(Side::Client, line.as_bytes()), (Side::Server, b"200 ok\r\n")]));
        let line = lines.iter().find(|line| line["event"] == "change").unwrap();
        line["path"].as_str().unwrap().to_owned()
    };
    let whole: Vec<_> =
        words.filter(|word| told_of(word) == format!("{word} a {SECRET}")).collect();
    assert_eq!(whole.len(), 16, "{whole:?}");
    for word in ["PSWD", "ADDUSER", "HELP", "CHMODX"] {
        assert_eq!(told_of(word), word);
    }
}

/// What a session reports that has logged in and is told these bytes.
fn talk(said: &[(Side, &[u8])]) -> Vec<Report> {
    let login: [(Side, &[u8]); 3] = [
        (Side::Server, b"220 ready\r\n"),
        (Side::Client, b"USER a\r\n"),
        (Side::Server, b"230 in\r\n"),
    ];
    talk_from_the_start(&[&login, said].concat())
}

/// What a session reports that is told these bytes, up to its end.
fn talk_from_the_start(said: &[(Side, &[u8])]) -> Vec<Report> {
    let parties = Parties {
        client: at("192.0.2.2:40000"),
        original_dst: OriginalDst(at("203.0.113.7:21")),
        dials_gateway: true,
        external_client: ByOwn::default(),
        external_server: ByOwn::default(),
        introduced_at: None,
    };
    let now = Instant::now();
    let mut session = Session::new(Arc::new(Settings::default()), parties, now);
    let (server, seen_as) = (at("10.0.0.5:21"), at("10.0.0.1:33000"));
    session.handle_event(Event::ServerConnected { server, seen_as, wants_certificate: false }, now);
    for (from, bytes) in said {
        session.handle_event(Event::BytesReceived { from: *from, bytes }, now);
    }
    session.handle_event(Event::ConnectionClosed { side: Side::Server, orderly: true }, now);
    let mut reports = Vec::new();
    while let Some(action) = session.poll_action() {
        if let Action::Report(report) = action {
            reports.push(report);
        }
    }
    reports
}

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
