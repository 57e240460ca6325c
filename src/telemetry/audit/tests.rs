//! Reports in, lines of JSON out.

use super::*;
use crate::addr::OriginalDst;
use crate::report::{
    CccOutcome, CloseCause, Connection, ControlProtection, DataOutcome, PeerText, Refusal, Report,
    TlsFault, TlsVersion, TransferCommand,
};
use crate::telemetry::Telemetry;
use crate::terms::{ByteCounts, DataMode, DataPath, ProtectionLevel, SessionId, Side, TransferId};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Bounds every wait for something that has to come.
pub(super) const COMES_WITHIN: Duration = Duration::from_secs(10);

fn text(text: &str) -> Option<PeerText> {
    Some(PeerText::new(text.as_bytes()))
}

fn started() -> Report {
    let client = "192.0.2.2:40000".parse().unwrap();
    Report::SessionStarted { client, original_dst: OriginalDst("198.51.100.1:21".parse().unwrap()) }
}

fn changed(verb: &'static str, code: Option<u16>) -> Report {
    let renamed = (verb == "RNTO").then(|| PeerText::new(b"old"));
    Report::ChangeEnded { verb, path: text("a\u{1b}"), renamed, code }
}

fn transferred(command: Option<TransferCommand>, bytes: Option<ByteCounts>) -> Report {
    Report::DataConnectionEnded {
        transfer: TransferId(3),
        command,
        path: DataPath::Relay,
        mode: DataMode::Passive,
        protection: ProtectionLevel::Private,
        outcome: DataOutcome::Completed,
        bytes,
        duration: Duration::from_millis(2500),
    }
}

/// A folder with a file for the audit, which is not there yet.
pub(super) fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    (folder, path)
}

/// Telemetry whose audit goes to the file at `path`.
pub(super) fn writing_to(path: &Path) -> Telemetry {
    let places = AuditPlaces { file: Some(path), ..AuditPlaces::default() };
    Telemetry::new().with_audit(places).unwrap()
}

/// The lines that `reports` of one session lead to.
fn lines_of(reports: &[Report]) -> Vec<Value> {
    let (_folder, path) = place();
    let telemetry = writing_to(&path);
    let session = telemetry.listener("out").session(SessionId(7));
    reports.iter().for_each(|report| session.record(report));
    assert!(telemetry.flush_audit(COMES_WITHIN));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// `line` without its time, which is checked.
#[track_caller]
fn without_time(mut line: Value) -> Value {
    let time = line.as_object_mut().unwrap().remove("time").unwrap();
    let time = time.as_str().unwrap();
    let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000000Z");
    line
}

#[test]
fn one_session_is_told_from_login_to_end() {
    let connected = Report::ServerConnected {
        server: "198.51.100.1:21".parse().unwrap(),
        seen_as: "203.0.113.7:40001".parse().unwrap(),
        elapsed: Duration::from_millis(2),
    };
    let handshake = |fault: Option<TlsFault>| Report::HandshakeEnded {
        side: Side::Server,
        connection: Connection::Data,
        version: fault.is_none().then_some(TlsVersion::Tls13),
        resumed: fault.is_none(),
        fault,
    };
    let lines = lines_of(&[
        started(),
        Report::Refused { verb: "USER", reason: Refusal::TlsRequired, rule: None },
        connected,
        Report::ProtectionChanged { state: ControlProtection::Terminated },
        Report::CommandReceived { verb: "USER" },
        Report::LoginRefused { user: text("mallory"), code: 530 },
        Report::ClientCertificateAccepted { subject: PeerText::new(b"CN=anna") },
        Report::LoginAccepted { user: text("anna") },
        handshake(None),
        handshake(Some(TlsFault::Expired)),
        transferred(
            Some(TransferCommand { verb: "RETR", path: text("/a b") }),
            Some(ByteCounts { upload: 3, download: 1000 }),
        ),
        changed("RNTO", Some(250)),
        changed("DELE", Some(550)),
        changed("MKD", None),
        Report::CccObserved { outcome: CccOutcome::Cleared, passed: Some(2) },
        Report::SessionEnded {
            cause: CloseCause::Quit,
            duration: Duration::from_micros(7_000_001),
        },
    ]);
    let lines: Vec<Value> = lines.into_iter().map(without_time).collect();
    let of = |event: &str, more: Value| {
        let mut line = json!({
            "event": event, "session": 7, "listener": "out", "client": "192.0.2.2:40000",
            "server": "198.51.100.1:21", "control": "terminated", "user": "anna",
            "certificate": "CN=anna",
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let expected = [
        json!({
            "event": "refusal", "session": 7, "listener": "out", "client": "192.0.2.2:40000",
            "control": "clear", "verb": "USER", "reason": "tls_required",
        }),
        json!({
            "event": "protection", "session": 7, "listener": "out", "client": "192.0.2.2:40000",
            "server": "198.51.100.1:21", "control": "terminated",
        }),
        json!({
            "event": "login", "session": 7, "listener": "out", "client": "192.0.2.2:40000",
            "server": "198.51.100.1:21", "control": "terminated", "user": "mallory",
            "outcome": "refused", "code": 530,
        }),
        of("login", json!({ "outcome": "accepted" })),
        of(
            "tls",
            json!({
                "side": "server", "connection": "data", "outcome": "completed", "version": "1.3",
                "resumed": true,
            }),
        ),
        of(
            "tls",
            json!({
                "side": "server", "connection": "data", "outcome": "expired", "resumed": false,
            }),
        ),
        of(
            "transfer",
            json!({
                "transfer": 3, "verb": "RETR", "path": "/a b", "outcome": "completed", "upload": 3,
                "download": 1000, "protection": "private", "mode": "passive", "data_path": "relay",
                "seconds": 2.5,
            }),
        ),
        of(
            "change",
            json!({
                "verb": "RNTO", "path": r"a\x1b", "from": "old", "outcome": "accepted", "code": 250,
            }),
        ),
        of(
            "change",
            json!({ "verb": "DELE", "path": r"a\x1b", "outcome": "refused", "code": 550 }),
        ),
        of("change", json!({ "verb": "MKD", "path": r"a\x1b", "outcome": "unanswered" })),
        of("ccc", json!({ "outcome": "cleared", "passed": 2 })),
        of(
            "session_end",
            json!({
                "dialled": "198.51.100.1:21", "reason": "quit", "seconds": 7.000_001,
            }),
        ),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_is_not_known_is_left_out() {
    let lines = lines_of(&[Report::LoginAccepted { user: None }, transferred(None, None)]);
    for key in ["client", "server", "user", "certificate", "verb", "path", "upload", "download"] {
        assert!(lines.iter().all(|line| line.get(key).is_none()), "{key} in {lines:?}");
    }
    assert_eq!(lines.len(), 2);
}

#[test]
fn hostile_names_stay_inside_their_value() {
    let hostile: &[&[u8]] = &[
        b"\",\"user\":\"root\"}\r\n{\"event\":\"login",
        b"\\\",\"",
        b"\xff\xfe\x00\x1b[2J\\x41",
        "\u{202e}\u{2028}\u{9b}".as_bytes(),
    ];
    for name in hostile {
        let path = Some(PeerText::new(name));
        let shown = PeerText::new(name).to_string();
        let user = Report::LoginAccepted { user: path.clone() };
        let lines =
            lines_of(&[user, transferred(Some(TransferCommand { verb: "STOR", path }), None)]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[1]["path"], shown);
        assert_eq!(lines[0]["user"], shown);
        assert_eq!(lines[0]["event"], "login");
    }
}

#[test]
fn a_name_that_is_cut_says_how_long_it_was() {
    let long = vec![0xff; 70_000];
    let path = Some(PeerText::new(&long));
    let lines = lines_of(&[transferred(Some(TransferCommand { verb: "RETR", path }), None)]);
    assert_eq!(lines[0]["path_length"], 70_000);
    assert_eq!(lines[0]["path"].as_str().unwrap().len(), 4096 * r"\xff".len());
}

#[test]
fn a_name_that_is_asked_for_and_a_certificate_stand_with_their_handshakes() {
    let handshake = |side, connection, fault: Option<TlsFault>| Report::HandshakeEnded {
        side,
        connection,
        version: fault.is_none().then_some(TlsVersion::Tls12),
        resumed: false,
        fault,
    };
    let shown = |checked, fault| Report::ServerCertificateShown {
        subject: PeerText::new(b"CN=ftp.example"),
        checked,
        fault,
    };
    let (control, data) = (Connection::Control, Connection::Data);
    let lines = lines_of(&[
        Report::NameAsked { name: PeerText::new(b"ftp.example") },
        shown(true, Some(TlsFault::WrongName)),
        handshake(Side::Server, control, Some(TlsFault::WrongName)),
        handshake(Side::Client, control, None),
        handshake(Side::Client, data, None),
        shown(false, None),
        handshake(Side::Server, data, None),
        shown(true, None),
        handshake(Side::Server, control, None),
    ]);
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            let of = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
            ["server_name", "server_certificate", "verification"].map(of).join(" ")
        })
        .collect();
    let subject = "- CN=ftp.example";
    assert_eq!(
        told,
        [
            format!("{subject} wrong_name"),
            "ftp.example - -".to_owned(),
            "- - -".to_owned(),
            format!("{subject} unchecked"),
            format!("{subject} verified"),
        ]
    );
}

#[test]
fn without_a_place_there_is_no_audit() {
    let telemetry = Telemetry::new().with_audit(AuditPlaces::default()).unwrap();
    telemetry.listener("out").session(SessionId(1)).record(&Report::LoginAccepted { user: None });
    telemetry.reopen_audit();
    assert!(telemetry.flush_audit(Duration::ZERO));
}
