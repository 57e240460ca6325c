//! What a journal is sent, by a socket that stands for it.

use super::*;
use crate::report::{PeerText, Report};
use crate::telemetry::{AuditError, AuditFailure, AuditPlaces, Telemetry};
use crate::terms::SessionId;
use serde_json::Value;
use std::collections::BTreeMap;

const COMES_WITHIN: Duration = Duration::from_secs(10);

/// A socket in a folder of its own, as journald has one.
struct Listening {
    _folder: tempfile::TempDir,
    path: PathBuf,
    socket: UnixDatagram,
}

impl Listening {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = bound(&path);
        Self { _folder: folder, path, socket }
    }

    fn telemetry(&self) -> Telemetry {
        let places = AuditPlaces { journal: Some(&self.path), ..AuditPlaces::default() };
        Telemetry::new().with_audit(places).unwrap()
    }

    /// The next entry, by field.
    fn entry(&self) -> BTreeMap<String, Vec<u8>> {
        let mut bytes = vec![0; 1 << 20];
        let length = self.socket.recv(&mut bytes).expect("an entry");
        read_entry(&bytes[..length])
    }
}

fn bound(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(COMES_WITHIN)).unwrap();
    socket
}

/// Reads the native protocol: `NAME=value`, or the name, a length of 8 bytes and the value.
fn read_entry(mut rest: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut fields = BTreeMap::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').expect("a line end");
        let (line, more) = (&rest[..end], &rest[end + 1..]);
        let (name, value, after) = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => (&line[..at], &line[at + 1..], more),
            None => {
                let length = u64::from_le_bytes(more[..8].try_into().unwrap());
                let (value, after) = more[8..].split_at(usize::try_from(length).unwrap());
                (line, value, after.strip_prefix(b"\n").expect("a line end"))
            }
        };
        fields.insert(String::from_utf8(name.to_vec()).unwrap(), value.to_vec());
        rest = after;
    }
    fields
}

fn text(field: &[u8]) -> &str {
    std::str::from_utf8(field).unwrap()
}

fn login(user: &[u8]) -> Report {
    Report::LoginAccepted { user: Some(PeerText::new(user)) }
}

/// The samples of the journal: written, lost.
fn counted(telemetry: &Telemetry) -> [String; 2] {
    let text = telemetry.encode(true);
    ["written", "lost"].map(|outcome| {
        let start =
            format!("ftpgate_audit_lines_total{{outcome=\"{outcome}\",place=\"journal\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        value.unwrap_or_default().to_owned()
    })
}

#[test]
fn each_line_is_an_entry_with_its_event() {
    let listening = Listening::new();
    let telemetry = listening.telemetry();
    let session = telemetry.listener("out").session(SessionId(7));
    session.record(&login(b"anna\nPRIORITY=0\n\x1b=\xff"));
    session.record(&Report::LoginRefused { user: None, code: 530 });
    session.record(&Report::Refused {
        verb: "PORT",
        reason: crate::report::Refusal::LowPort,
        rule: None,
    });
    for event in ["login", "login", "refusal"] {
        let entry = listening.entry();
        assert_eq!(text(&entry["FTPGATE_EVENT"]), event);
        assert_eq!(text(&entry["SYSLOG_IDENTIFIER"]), "ftpgate");
        assert_eq!(text(&entry["PRIORITY"]), "6");
        assert_eq!(entry.len(), 4, "{entry:?}");
        let line: Value = serde_json::from_slice(&entry["MESSAGE"]).unwrap();
        assert_eq!((&line["event"], &line["session"]), (&event.into(), &7.into()));
    }
    assert!(telemetry.flush_audit(COMES_WITHIN));
    assert_eq!(counted(&telemetry), ["3", "0"]);
}

#[test]
fn the_longest_line_fits() {
    let listening = Listening::new();
    let telemetry = listening.telemetry();
    let session = telemetry.listener("out").session(SessionId(7));
    let long = PeerText::new(&[0xff; 100_000]);
    session.record(&login(&[0xff; 100_000]));
    session.record(&Report::ClientCertificateAccepted { subject: long.clone() });
    session.record(&Report::ChangeEnded {
        verb: "RNTO",
        path: Some(long.clone()),
        renamed: Some(long),
        code: Some(250),
    });
    for _ in 0..2 {
        let line: Value = serde_json::from_slice(&listening.entry()["MESSAGE"]).unwrap();
        assert_eq!(line["user_length"], 100_000);
    }
    assert!(telemetry.flush_audit(COMES_WITHIN));
    assert_eq!(counted(&telemetry), ["2", "0"]);
}

#[test]
fn what_fits_into_no_datagram_is_lost_alone() {
    let listening = Listening::new();
    let counts = crate::telemetry::metrics::Metrics::new().audit_lines_total.journal;
    let mut journal = Journal::open(&listening.path, counts.clone()).unwrap();
    let long = vec![b'x'; 16 * 1024 * 1024];
    journal.send([("login", &b"{}\n"[..]), ("login", &long), ("tls", b"{}\n")].into_iter());
    assert_eq!((counts.written.get(), counts.lost.get()), (2, 1));
    assert_eq!(text(&listening.entry()["FTPGATE_EVENT"]), "login");
    assert_eq!(text(&listening.entry()["FTPGATE_EVENT"]), "tls");
}

#[test]
fn a_journal_that_is_started_anew_is_found_again() {
    let mut listening = Listening::new();
    let telemetry = listening.telemetry();
    let session = telemetry.listener("out").session(SessionId(7));
    session.record(&login(b"a"));
    listening.entry();
    std::fs::remove_file(&listening.path).unwrap();
    session.record(&login(b"b"));
    assert!(telemetry.flush_audit(COMES_WITHIN));
    listening.socket = bound(&listening.path);
    session.record(&login(b"c"));
    let line: Value = serde_json::from_slice(&listening.entry()["MESSAGE"]).unwrap();
    assert_eq!(line["user"], "c");
    assert!(telemetry.flush_audit(COMES_WITHIN));
    assert_eq!(counted(&telemetry), ["2", "1"]);
}

#[test]
fn a_journal_that_is_away_loses_nothing_where_nothing_goes_on_without_it() {
    let mut listening = Listening::new();
    let places = AuditPlaces {
        journal: Some(&listening.path),
        on_error: AuditFailure::Stop,
        ..AuditPlaces::default()
    };
    let telemetry = Telemetry::new().with_audit(places).unwrap();
    let session = telemetry.listener("out").session(SessionId(7));
    std::fs::remove_file(&listening.path).unwrap();
    for user in [b"a", b"b"] {
        session.record(&login(user));
    }
    assert!(!telemetry.flush_audit(Duration::from_millis(100)), "it waits");
    listening.socket = bound(&listening.path);
    assert!(telemetry.flush_audit(COMES_WITHIN));
    for user in ["a", "b"] {
        let line: Value = serde_json::from_slice(&listening.entry()["MESSAGE"]).unwrap();
        assert_eq!(line["user"], user);
    }
    assert_eq!(counted(&telemetry), ["2", "0"]);
}

#[test]
fn a_journal_that_hangs_costs_one_wait() {
    let listening = Listening::new();
    let counts = crate::telemetry::metrics::Metrics::new().audit_lines_total.journal;
    let mut journal = Journal::open(&listening.path, counts.clone()).unwrap();
    // More than any queue of datagrams takes (net.unix.max_dgram_qlen), and nobody reads.
    let most = 100_000;
    let before = std::time::Instant::now();
    journal.send(std::iter::repeat_n(("tls", &b"{}\n"[..]), most));
    assert!(before.elapsed() < COMES_WITHIN);
    let (written, lost) = (counts.written.get(), counts.lost.get());
    assert!(written > 0 && lost > 0, "{written} written, {lost} lost");
    assert_eq!(written + lost, u64::try_from(most).unwrap());
}

#[test]
fn without_a_journal_the_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let places = AuditPlaces { journal: Some(&path), ..AuditPlaces::default() };
    let error = Telemetry::new().with_audit(places).err().expect("an error");
    assert!(matches!(error, AuditError::Journal { .. }), "{error:?}");
    let told = error.to_string();
    assert!(told.starts_with("telemetry.audit.journald: no journal listens at"), "{told}");
}
