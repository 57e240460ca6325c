//! Reports in, what is shown out.

use super::*;
use crate::addr::OriginalDst;
use crate::pinhole::Pinhole;
use crate::report::{
    CloseCause, ControlProtection, DataOutcome, PeerText, PinholeOutcome, Refusal, Report,
    TransferCommand,
};
use crate::telemetry::snapshot::{Moved, SessionState};
use crate::telemetry::{SessionTelemetry, Telemetry};
use crate::terms::{DataMode, DataPath, ProtectionLevel, TransferId};
use std::time::Duration;

const TRANSFER: TransferId = TransferId(1);
const MODE: DataMode = DataMode::Passive;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn begun(telemetry: &Telemetry, id: u64) -> SessionTelemetry {
    let session = telemetry.listener("out").session(SessionId(id));
    let original_dst = OriginalDst(at("198.51.100.1:21"));
    session.record(&Report::SessionStarted { client: at("192.0.2.2:40000"), original_dst });
    session
}

fn connect(session: &SessionTelemetry) {
    session.record(&Report::ServerConnected {
        server: at("198.51.100.1:21"),
        seen_as: at("203.0.113.7:40001"),
        elapsed: Duration::from_millis(2),
    });
}

fn log_in(session: &SessionTelemetry, user: &[u8]) {
    session.record(&Report::LoginAccepted { user: Some(PeerText::new(user)) });
}

fn start(session: &SessionTelemetry, path: DataPath) {
    session.record(&Report::DataConnectionStarted { transfer: TRANSFER, path, mode: MODE });
    let command = TransferCommand { verb: "RETR", path: Some(PeerText::new(b"/a\x1b[2J.txt")) };
    session.record(&Report::TransferNamed {
        transfer: TRANSFER,
        command: Some(command),
        protection: ProtectionLevel::Private,
    });
}

fn end(session: &SessionTelemetry, path: DataPath) {
    session.record(&Report::DataConnectionEnded {
        transfer: TRANSFER,
        command: None,
        path,
        mode: MODE,
        protection: ProtectionLevel::Private,
        outcome: DataOutcome::Completed,
        bytes: Some(ByteCounts { upload: 3, download: 1000 }),
        duration: Duration::from_secs(2),
    });
}

fn only(telemetry: &Telemetry, view: View) -> SessionSnapshot {
    let mut sessions = telemetry.snapshot(view).sessions;
    assert_eq!(sessions.len(), 1);
    sessions.remove(0)
}

#[track_caller]
fn is(telemetry: &Telemetry, state: SessionState) {
    assert_eq!(only(telemetry, View::Owner).state, state);
}

#[test]
fn a_session_shows_what_it_is_at() {
    let telemetry = Telemetry::new();
    let session = begun(&telemetry, 7);
    is(&telemetry, SessionState::Connecting);
    connect(&session);
    is(&telemetry, SessionState::Login);
    log_in(&session, b"alice");
    is(&telemetry, SessionState::Idle);
    start(&session, DataPath::Kernel);
    is(&telemetry, SessionState::Transferring);
    let end_of = |cause| Report::SessionEnded { cause, duration: Duration::from_secs(7) };
    session.record(&end_of(CloseCause::Quit));
    is(&telemetry, SessionState::Ending);
    end(&session, DataPath::Kernel);
    assert!(telemetry.snapshot(View::Owner).sessions.is_empty(), "it is over");
}

#[test]
fn a_session_that_cannot_be_read_is_blind_until_ccc() {
    let telemetry = Telemetry::new();
    let session = begun(&telemetry, 1);
    connect(&session);
    let changed = |state| Report::ProtectionChanged { state };
    session.record(&changed(ControlProtection::Passthrough));
    is(&telemetry, SessionState::Blind);
    session.record(&changed(ControlProtection::Cleared));
    is(&telemetry, SessionState::Idle);
    assert_eq!(only(&telemetry, View::Page).control, "cleared");
}

#[test]
fn bytes_are_seen_while_they_move_and_counted_once() {
    let telemetry = Telemetry::new();
    let session = begun(&telemetry, 1);
    start(&session, DataPath::Relay);
    assert_eq!(only(&telemetry, View::Owner).transfers[0].moved, None);
    let bytes = Arc::<RunningBytes>::default();
    session.follow(TRANSFER, Arc::clone(&bytes));
    for download in [10, 20] {
        bytes.add(Direction::Download, 10);
        let shown = only(&telemetry, View::Owner);
        assert_eq!(shown.moved, Moved { upload: 0, download });
        assert_eq!(shown.transfers[0].moved, Some(shown.moved));
    }
    end(&session, DataPath::Relay);
    let shown = only(&telemetry, View::Owner);
    assert_eq!(shown.moved, Moved { upload: 3, download: 1000 });
    assert_eq!((shown.transfers_done, shown.transfers_running), (1, 0));
}

#[test]
fn users_and_files_are_for_the_owner_and_harm_no_terminal() {
    let telemetry = Telemetry::new();
    let session = begun(&telemetry, 1);
    log_in(&session, b"a\x1b]0;x\x07\xff");
    start(&session, DataPath::Relay);
    let page = only(&telemetry, View::Page);
    assert_eq!((page.user, page.transfers[0].path.clone()), (None, None));
    let owner = only(&telemetry, View::Owner);
    assert_eq!(owner.user.as_deref(), Some(r"a\x1b]0;x\x07\xff"));
    assert_eq!(owner.transfers[0].path.as_deref(), Some(r"/a\x1b[2J.txt"));
    assert_eq!((&*owner.transfers[0].protection, owner.transfers[0].id), ("private", 1));
    let text = serde_json::to_string(&telemetry.snapshot(View::Owner)).unwrap();
    assert!(!text.chars().any(char::is_control), "{text}");
}

#[test]
fn pinholes_are_shown_while_they_are_open() {
    let telemetry = Telemetry::new();
    let session = begun(&telemetry, 1);
    let pinhole = Pinhole { peer: "192.0.2.2".parse().unwrap(), entry: at("203.0.113.7:50000") };
    let path = DataPath::Kernel;
    session.record(&Report::PinholeOpened {
        transfer: TRANSFER,
        path,
        mode: MODE,
        pinhole,
        elapsed: Duration::from_micros(12),
    });
    let shown = only(&telemetry, View::Page).pinholes;
    assert_eq!((shown.len(), shown[0].entry, &*shown[0].mode), (1, pinhole.entry, "passive"));
    let outcome = PinholeOutcome::Used;
    session.record(&Report::PinholeClosed { transfer: TRANSFER, path, mode: MODE, outcome });
    assert!(only(&telemetry, View::Page).pinholes.is_empty());
}

#[test]
fn a_session_that_is_cut_short_is_forgotten() {
    let telemetry = Telemetry::new();
    let session = begun(&telemetry, 1);
    let of_data_connection = session.clone();
    drop(session);
    assert_eq!(only(&telemetry, View::Page).id, 1);
    drop(of_data_connection);
    assert!(telemetry.snapshot(View::Page).sessions.is_empty());
}

#[test]
fn refusals_are_counted_and_the_last_of_them_kept() {
    let telemetry = Telemetry::new();
    let session = begun(&telemetry, 1);
    for _ in 0..MOST_REFUSALS {
        session.record(&Report::Refused { reason: Refusal::LowPort, verb: "PORT", rule: None });
    }
    let turned_away = begun(&telemetry, 2);
    let (cause, duration) = (CloseCause::TooManySessions, Duration::ZERO);
    turned_away.record(&Report::SessionEnded { cause, duration });
    session.record(&Report::SessionEnded { cause: CloseCause::Quit, duration });
    let refusals = telemetry.snapshot(View::Page).refusals;
    assert_eq!(refusals.recent.len(), MOST_REFUSALS);
    let newest = &refusals.recent[0];
    assert_eq!((newest.session, &*newest.reason), (2, "too_many_sessions"));
    assert_eq!(newest.client, Some(at("192.0.2.2:40000")));
    let total: Vec<_> = refusals.total.iter().map(|(reason, n)| (&**reason, *n)).collect();
    assert_eq!(total, [("low_port", 100), ("too_many_sessions", 1)]);
}

#[test]
fn what_is_shown_can_be_read_back() {
    let telemetry = Telemetry::new();
    telemetry.set_limits(1000, 10);
    telemetry.set_ports_free(990);
    telemetry.set_listeners(vec![ListenerSnapshot {
        name: "out".to_owned(),
        address: at("0.0.0.0:2121"),
        capture: "tproxy".into(),
        server: "original".to_owned(),
    }]);
    let session = begun(&telemetry, 1);
    connect(&session);
    start(&session, DataPath::Kernel);
    session.record(&Report::Refused { reason: Refusal::LowPort, verb: "PORT", rule: None });
    let shown = telemetry.snapshot(View::Owner);
    let text = serde_json::to_string(&shown).unwrap();
    assert!(text.contains(r#""ports":{"free":990,"total":1000}"#), "{text}");
    assert!(text.contains(r#""state":"transferring""#), "{text}");
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), shown);
}
