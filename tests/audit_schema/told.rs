//! What a session tells that is told some bytes, and the lines of the audit that it leads to.

use super::reports::at;
use ftpgate::addr::{ByOwn, OriginalDst};
use ftpgate::report::Report;
use ftpgate::session::{Action, Event, Parties, Session, Settings};
use ftpgate::telemetry::{AuditPlaces, Telemetry};
use ftpgate::terms::{SessionId, Side};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The lines that `reports` of one session lead to.
pub(super) fn lines_of(reports: &[Report]) -> Vec<Value> {
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

/// What a session reports that has logged in and is told these bytes.
pub(super) fn talk(said: &[(Side, &[u8])]) -> Vec<Report> {
    let login: [(Side, &[u8]); 3] = [
        (Side::Server, b"220 ready\r\n"),
        (Side::Client, b"USER a\r\n"),
        (Side::Server, b"230 in\r\n"),
    ];
    talk_from_the_start(&[&login, said].concat())
}

/// What a session reports that is told these bytes, up to its end.
pub(super) fn talk_from_the_start(said: &[(Side, &[u8])]) -> Vec<Report> {
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
