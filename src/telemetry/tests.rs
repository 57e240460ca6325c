//! Facts in, figures out.

use super::*;
use crate::addr::OriginalDst;
use crate::pinhole::Pinhole;
use crate::report::{
    CccOutcome, CloseCause, Connection, ControlProtection, DataOutcome, LeafSource, PinholeOutcome,
    Refusal, RewrittenLine, TlsFault, TlsVersion,
};
use crate::terms::{ByteCounts, DataMode, DataPath, ProtectionLevel, Side, TransferId};
use std::time::{Duration, SystemTime};

const PATH: DataPath = DataPath::Kernel;
const MODE: DataMode = DataMode::Passive;

fn started() -> Report {
    let client = "192.0.2.2:40000".parse().unwrap();
    Report::SessionStarted { client, original_dst: OriginalDst("198.51.100.1:21".parse().unwrap()) }
}

fn opened(transfer: u32) -> Report {
    let pinhole =
        Pinhole { peer: "192.0.2.2".parse().unwrap(), entry: "203.0.113.7:50000".parse().unwrap() };
    let elapsed = Duration::from_micros(12);
    Report::PinholeOpened {
        transfer: TransferId(transfer),
        path: PATH,
        mode: MODE,
        pinhole,
        elapsed,
    }
}

fn closed(transfer: u32, outcome: PinholeOutcome) -> Report {
    Report::PinholeClosed { transfer: TransferId(transfer), path: PATH, mode: MODE, outcome }
}

fn data_started(transfer: u32) -> Report {
    Report::DataConnectionStarted { transfer: TransferId(transfer), path: PATH, mode: MODE }
}

fn data_ended(transfer: u32) -> Report {
    Report::DataConnectionEnded {
        transfer: TransferId(transfer),
        command: None,
        path: PATH,
        mode: MODE,
        protection: ProtectionLevel::Clear,
        outcome: DataOutcome::Completed,
        bytes: Some(ByteCounts { upload: 3, download: 1000 }),
        duration: Duration::from_secs(2),
    }
}

fn ended(cause: CloseCause) -> Report {
    Report::SessionEnded { cause, duration: Duration::from_secs(7) }
}

/// Asserts that the exposition has this sample.
#[track_caller]
fn has(telemetry: &Telemetry, sample: &str) {
    let text = telemetry.encode(true);
    let near: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(sample.split(['{', ' ']).next().unwrap()))
        .collect();
    assert!(text.lines().any(|line| line == sample), "{sample} is not among {near:#?}");
}

/// Asserts that every gauge that sessions move is at zero.
#[track_caller]
fn at_rest(telemetry: &Telemetry) {
    has(telemetry, r#"ftpgate_sessions_active{listener="out"} 0"#);
    for path in ["kernel", "relay"] {
        has(telemetry, &format!(r#"ftpgate_pinholes_open{{path="{path}"}} 0"#));
        has(telemetry, &format!(r#"ftpgate_data_connections_active{{path="{path}"}} 0"#));
    }
    for state in ControlProtection::ALL {
        has(telemetry, &format!(r#"ftpgate_control_protection{{state="{}"}} 0"#, state.label()));
    }
}

#[test]
fn one_download_moves_every_figure_once() {
    let telemetry = Telemetry::new();
    let session = telemetry.listener("out").session(SessionId(1));
    session.record(&started());
    has(&telemetry, r#"ftpgate_sessions_active{listener="out"} 1"#);
    has(&telemetry, r#"ftpgate_control_protection{state="clear"} 1"#);
    session.record(&Report::ServerConnected {
        server: "198.51.100.1:21".parse().unwrap(),
        seen_as: "203.0.113.7:40001".parse().unwrap(),
        elapsed: Duration::from_millis(2),
    });
    session.record(&Report::CommandReceived { verb: "PASV" });
    session.record(&Report::CommandReceived { verb: "PASV" });
    session.record(&Report::LineRewritten { line: RewrittenLine::Pasv });
    session.record(&Report::Refused { verb: "PORT", reason: Refusal::LowPort, rule: None });
    session.record(&opened(1));
    has(&telemetry, r#"ftpgate_pinholes_open{path="kernel"} 1"#);
    session.record(&data_started(1));
    session.record(&closed(1, PinholeOutcome::Used));
    has(&telemetry, r#"ftpgate_pinholes_open{path="kernel"} 0"#);
    has(&telemetry, r#"ftpgate_data_connections_active{path="kernel"} 1"#);
    session.record(&data_ended(1));
    session.record(&Report::ProtectionChanged { state: ControlProtection::Passthrough });
    has(&telemetry, r#"ftpgate_control_protection{state="clear"} 0"#);
    has(&telemetry, r#"ftpgate_control_protection{state="passthrough"} 1"#);
    session.record(&ended(CloseCause::Quit));
    at_rest(&telemetry);
    for sample in [
        r#"ftpgate_sessions_total{listener="out",outcome="quit"} 1"#,
        r#"ftpgate_commands_total{listener="out",verb="PASV"} 2"#,
        r#"ftpgate_rewrites_total{line="pasv",listener="out"} 1"#,
        r#"ftpgate_refusals_total{listener="out",reason="low_port"} 1"#,
        r#"ftpgate_pinholes_total{mode="passive",outcome="used",path="kernel"} 1"#,
        r#"ftpgate_pinhole_open_seconds_count{path="kernel"} 1"#,
        r#"ftpgate_pinhole_open_seconds_bucket{path="kernel",le="0.00001"} 0"#,
        r#"ftpgate_pinhole_open_seconds_bucket{path="kernel",le="0.000025"} 1"#,
        r#"ftpgate_data_connections_total{mode="passive",outcome="completed",path="kernel",protection="clear"} 1"#,
        r#"ftpgate_data_bytes_total{direction="upload",path="kernel"} 3"#,
        r#"ftpgate_data_bytes_total{direction="download",path="kernel"} 1000"#,
        "ftpgate_session_seconds_sum 7",
        "ftpgate_server_connect_seconds_count 1",
    ] {
        has(&telemetry, sample);
    }
}

#[test]
fn gauges_come_back_whatever_order_the_ends_come_in() {
    let telemetry = Telemetry::new();
    let session = telemetry.listener("out").session(SessionId(1));
    for report in [
        started(),
        opened(1),
        opened(2),
        data_started(1),
        ended(CloseCause::ClientClosed),
        closed(2, PinholeOutcome::Withdrawn),
        closed(1, PinholeOutcome::Used),
        // Never open, never started, told twice.
        closed(3, PinholeOutcome::Failed),
        closed(2, PinholeOutcome::Withdrawn),
        data_ended(9),
        ended(CloseCause::ClientClosed),
        Report::ProtectionChanged { state: ControlProtection::Passthrough },
    ] {
        session.record(&report);
    }
    // A data connection on the kernel path outlives its session.
    has(&telemetry, r#"ftpgate_data_connections_active{path="kernel"} 1"#);
    session.record(&data_ended(1));
    at_rest(&telemetry);
}

#[test]
fn a_session_that_is_cut_short_leaves_nothing_in_the_gauges() {
    let telemetry = Telemetry::new();
    let listener = telemetry.listener("out");
    let session = listener.session(SessionId(1));
    let data_connection = session.clone();
    for report in [started(), opened(1), data_started(1)] {
        session.record(&report);
    }
    drop(session);
    has(&telemetry, r#"ftpgate_data_connections_active{path="kernel"} 1"#);
    drop(data_connection);
    at_rest(&telemetry);
}

#[test]
fn handshakes_are_counted_by_how_they_ended() {
    let telemetry = Telemetry::new();
    let session = telemetry.listener("out").session(SessionId(1));
    let (side, connection) = (Side::Server, Connection::Data);
    let version = Some(TlsVersion::Tls13);
    let told = |version, resumed, fault| {
        session.record(&Report::HandshakeEnded { side, connection, version, resumed, fault });
    };
    told(version, true, None);
    told(version, true, None);
    told(version, false, None);
    // What was agreed on before does not count.
    told(version, false, Some(TlsFault::NotResumed));
    told(None, false, Some(TlsFault::NotResumed));
    session.record(&Report::LeafShown { source: LeafSource::Cache });
    for sample in [
        r#"ftpgate_tls_handshakes_total{connection="data",outcome="completed",resumed="yes",side="server",version="1.3"} 2"#,
        r#"ftpgate_tls_handshakes_total{connection="data",outcome="completed",resumed="no",side="server",version="1.3"} 1"#,
        r#"ftpgate_tls_handshakes_total{connection="data",outcome="completed",resumed="no",side="server",version="1.2"} 0"#,
        r#"ftpgate_tls_handshakes_total{connection="data",outcome="not_resumed",resumed="no",side="server",version="none"} 2"#,
        r#"ftpgate_tls_handshakes_total{connection="control",outcome="timeout",resumed="no",side="client",version="none"} 0"#,
        r#"ftpgate_leaf_certificates_total{source="cache"} 1"#,
        r#"ftpgate_leaf_certificates_total{source="issued"} 0"#,
    ] {
        has(&telemetry, sample);
    }
}

#[test]
fn blind_sessions_are_counted_by_what_passed() {
    let telemetry = Telemetry::new();
    let session = telemetry.listener("out").session(SessionId(1));
    let told = |outcome, passed| session.record(&Report::CccObserved { outcome, passed });
    told(CccOutcome::Missing, Some(3));
    told(CccOutcome::Missing, Some(0));
    told(CccOutcome::Missing, None);
    told(CccOutcome::Missing, None);
    told(CccOutcome::Cleared, None);
    for sample in [
        r#"ftpgate_blind_sessions_total{listener="out",outcome="passed"} 1"#,
        r#"ftpgate_blind_sessions_total{listener="out",outcome="nothing"} 1"#,
        r#"ftpgate_blind_sessions_total{listener="out",outcome="no_ports"} 2"#,
        r#"ftpgate_ccc_total{listener="out",outcome="none"} 4"#,
        r#"ftpgate_ccc_total{listener="out",outcome="cleared"} 1"#,
    ] {
        has(&telemetry, sample);
    }
}

#[test]
fn certificates_are_asked_at_every_scrape_and_only_those_in_use() {
    let telemetry = Telemetry::new();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let renewed = Arc::new(Mutex::new(Some(at(100))));
    let asked = Arc::clone(&renewed);
    telemetry.watch_certificates(vec![
        (CertificateRole::Fixed, Arc::new(move || *asked.lock().unwrap())),
        (CertificateRole::Client, Arc::new(move || Some(at(7)))),
    ]);
    has(&telemetry, r#"ftpgate_certificate_expiry_timestamp_seconds{certificate="fixed"} 100"#);
    has(&telemetry, r#"ftpgate_certificate_expiry_timestamp_seconds{certificate="client"} 7"#);
    *renewed.lock().unwrap() = Some(at(200));
    has(&telemetry, r#"ftpgate_certificate_expiry_timestamp_seconds{certificate="fixed"} 200"#);
    *renewed.lock().unwrap() = None;
    let text = telemetry.encode(true);
    assert!(!text.contains(r#"certificate="fixed""#) && !text.contains(r#"certificate="ca""#));
    telemetry.watch_certificates(Vec::new());
    assert!(!telemetry.encode(true).contains(r#"certificate=""#));
}

#[test]
fn limits_and_readiness_are_told() {
    let telemetry = Telemetry::new();
    telemetry.set_limits(1000, 20);
    has(&telemetry, "ftpgate_ports 1000");
    has(&telemetry, "ftpgate_sessions_limit 20");
    has(&telemetry, "ftpgate_ready 1");
    assert!(telemetry.encode(false).contains("\nftpgate_ready 0\n"));
}

#[test]
fn two_gateways_in_one_process_stay_apart() {
    let (one, other) = (Telemetry::new(), Telemetry::new());
    one.listener("out").session(SessionId(1)).record(&ended(CloseCause::Quit));
    other.listener("out");
    has(&one, r#"ftpgate_sessions_total{listener="out",outcome="quit"} 1"#);
    has(&other, r#"ftpgate_sessions_total{listener="out",outcome="quit"} 0"#);
}

#[test]
fn an_observer_sees_each_report_with_its_session() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let telemetry = Telemetry::with_observer(sender);
    let session = telemetry.listener("out").session(SessionId(5));
    session.record(&started());
    assert_eq!(receiver.try_recv().unwrap(), (SessionId(5), started()));
    drop(receiver);
    session.record(&opened(1));
    has(&telemetry, r#"ftpgate_pinholes_open{path="kernel"} 1"#);
}
