//! What a session reports: everything that can stand in a line, and some that hostile text stands in.

use ftpgate::addr::OriginalDst;
use ftpgate::report::{
    CccOutcome, CloseCause, Connection, ControlProtection, DataOutcome, PeerText, Refusal, Report,
    TlsFault, TlsVersion, TransferCommand,
};
use ftpgate::terms::{ByteCounts, DataMode, DataPath, ProtectionLevel, Side, TransferId};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn text(bytes: &[u8]) -> Option<PeerText> {
    Some(PeerText::new(bytes))
}

/// Longer than what is kept of a peer's text.
fn long() -> PeerText {
    PeerText::new(&[b'x'; 5000])
}

/// The beginning of each session.
pub(super) fn begun() -> Vec<Report> {
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

pub(super) fn transferred(command: Option<TransferCommand>, outcome: DataOutcome) -> Report {
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

pub(super) fn changed(verb: &'static str, path: Option<PeerText>, code: Option<u16>) -> Report {
    Report::ChangeEnded { verb, renamed: path.clone(), path, code }
}

/// A session of every kind of line, with everything that can stand in one.
pub(super) fn everything() -> Vec<Report> {
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
