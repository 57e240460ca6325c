//! What an operator reads: every line of a session carries its id, at the level of its weight.
//!
//! A binary of its own, since the filter of log lines belongs to the whole process.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use ftpgate::addr::OriginalDst;
use ftpgate::pinhole::Pinhole;
use ftpgate::report::{
    CccOutcome, CloseCause, Connection, DataOutcome, Distrust, PinholeOutcome, Refusal, Report,
    TlsFault, TlsVersion,
};
use ftpgate::telemetry::Telemetry;
use ftpgate::terms::{
    ByteCounts, DataMode, DataPath, ProtectionLevel, SessionId, Side, TransferId,
};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

const TRANSFER: TransferId = TransferId(1);
const PATH: DataPath = DataPath::Kernel;
const MODE: DataMode = DataMode::Passive;

fn started() -> Report {
    let client = "192.0.2.2:40000".parse().unwrap();
    Report::SessionStarted { client, original_dst: OriginalDst("198.51.100.1:21".parse().unwrap()) }
}

fn opened() -> Report {
    let pinhole =
        Pinhole { peer: "192.0.2.2".parse().unwrap(), entry: "203.0.113.7:50000".parse().unwrap() };
    let elapsed = Duration::from_micros(12);
    Report::PinholeOpened { transfer: TRANSFER, path: PATH, mode: MODE, pinhole, elapsed }
}

fn closed() -> Report {
    let outcome = PinholeOutcome::Expired;
    Report::PinholeClosed { transfer: TRANSFER, path: PATH, mode: MODE, outcome }
}

fn data_ended() -> Report {
    Report::DataConnectionEnded {
        transfer: TRANSFER,
        command: None,
        path: PATH,
        mode: MODE,
        protection: ProtectionLevel::Clear,
        outcome: DataOutcome::Completed,
        bytes: Some(ByteCounts { upload: 3, download: 1000 }),
        duration: Duration::from_secs(2),
    }
}

fn without_ccc(passed: Option<u32>) -> Report {
    Report::CccObserved { outcome: CccOutcome::Missing, passed }
}

fn handshake(fault: Option<TlsFault>) -> Report {
    let (side, connection, version) = (Side::Client, Connection::Data, Some(TlsVersion::Tls13));
    Report::HandshakeEnded { side, connection, version, resumed: false, fault }
}

fn ended(cause: CloseCause) -> Report {
    Report::SessionEnded { cause, duration: Duration::from_secs(7) }
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What is logged is a matter of the whole process: one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// The log of `reports` at `level`.
fn log(level: tracing::Level, reports: &[Report]) -> String {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(captured.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let session = Telemetry::new().listener("out").session(SessionId(42));
        reports.iter().for_each(|report| session.record(report));
    });
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_line_of_a_session_carries_its_id() {
    let reports = [
        started(),
        Report::Refused { verb: "PORT", reason: Refusal::ThirdPartyAddress, rule: None },
        opened(),
        data_ended(),
        ended(CloseCause::NotFtp),
    ];
    let text = log(tracing::Level::DEBUG, &reports);
    assert_eq!(text.lines().count(), reports.len(), "{text}");
    for line in text.lines() {
        assert!(line.contains(r#"session{id=42 listener="out" client=192.0.2.2:40000}"#), "{line}");
    }
    assert!(text.contains(r#"WARN"#) && text.contains(r#"reason="third_party_address""#), "{text}");
    assert!(text.contains("pinhole=192.0.2.2 -> 203.0.113.7:50000"), "{text}");
    assert!(text.contains("upload=3 download=1000"), "{text}");
}

#[test]
fn replies_without_end_that_nobody_asked_for_do_not_fill_the_log() {
    let odd = |reason| Report::LineDistrusted { reason, from: Side::Server };
    let mut reports = vec![started()];
    reports.extend((0..1000).map(|_| odd(Distrust::UnsolicitedReply)));
    reports.extend((0..1000).map(|_| odd(Distrust::NoReplyCode)));
    // They take no line from what is told at every level.
    reports.push(odd(Distrust::UnsolicitedPassiveReply));
    let text = log(tracing::Level::DEBUG, &reports);
    assert!((60..200).contains(&text.matches("DEBUG").count()), "{text}");
    assert_eq!(text.matches("WARN").count(), 1, "{text}");
}

#[test]
fn the_session_is_named_even_where_only_warnings_are_written() {
    let reports = [
        started(),
        Report::Refused { verb: "PORT", reason: Refusal::LowPort, rule: None },
        ended(CloseCause::Quit),
    ];
    let text = log(tracing::Level::WARN, &reports);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("session{id=42") && text.contains("low_port"), "{text}");
}

#[test]
fn the_lines_are_in_plain_words_at_the_level_of_their_weight() {
    let distrusted = |reason| Report::LineDistrusted { reason, from: Side::Server };
    let cases = [
        (started(), " INFO ", "session started"),
        (distrusted(Distrust::UnsolicitedPassiveReply), " WARN ", "nobody asked for"),
        (distrusted(Distrust::NoReplyCode), "DEBUG ", "without a reply code"),
        (
            Report::Refused { verb: "PORT", reason: Refusal::LowPort, rule: None },
            " WARN ",
            "a well-known port is named",
        ),
        (opened(), "DEBUG ", "pinhole open"),
        (closed(), "DEBUG ", "expired"),
        (data_ended(), " INFO ", "data connection completed"),
        (without_ccc(None), " WARN ", "Let the client use CCC, or set data.blind_ports"),
        (without_ccc(Some(0)), " WARN ", "active mode cannot work without CCC"),
        (without_ccc(Some(0)), " WARN ", "passive ports have to be the same range"),
        (without_ccc(Some(0)), " WARN ", "so let it use EPSV"),
        (without_ccc(Some(1)), " INFO ", "CCC; 1 data connection passed within"),
        (without_ccc(Some(7)), " INFO ", "CCC; 7 data connections passed within"),
        (handshake(None), "DEBUG ", "TLS stands"),
        (handshake(Some(TlsFault::NotResumed)), "DEBUG ", "does not resume its control"),
        (handshake(Some(TlsFault::UntrustedIssuer)), "DEBUG ", "to tls.server.roots"),
        (ended(CloseCause::NotFtp), " WARN ", "the client does not speak FTP"),
        (ended(CloseCause::Quit), " INFO ", "the client quit"),
    ];
    for (report, level, words) in cases {
        let text = log(tracing::Level::DEBUG, &[report]);
        assert!(text.contains(level) && text.contains(words), "{level} {words}: {text}");
    }
}
