//! Data connections resume their control connection's session with a server, and no other's.

use super::*;
use crate::tls::material::provider;
use crate::tls::tests::*;
use rstest::rstest;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{AlertDescription, Error, HandshakeKind, ServerConfig, SupportedProtocolVersion};
use std::sync::LazyLock;

static AUTHORITY: LazyLock<Party> = LazyLock::new(|| Party::self_signed(ca_params("CA of a test")));
static SERVER: LazyLock<Party> = LazyLock::new(|| AUTHORITY.sign(params("ftp.example")));

fn settings() -> (tempfile::TempDir, ServerSideSettings) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roots.pem");
    std::fs::write(&file, &AUTHORITY.pem).unwrap();
    let roots = ServerRoots::File(file);
    (directory, ServerSideSettings { roots, ..ServerSideSettings::default() })
}

fn gateway() -> ServerSide {
    let (_directory, settings) = settings();
    ServerSide::new(&settings).unwrap()
}

fn session(gateway: &ServerSide) -> ServerSession {
    gateway.session(Some("ftp.example"), None, "203.0.113.7".parse().unwrap()).unwrap()
}

/// A server that keeps sessions, or gives tickets that hold them.
fn keeping(version: &'static SupportedProtocolVersion, gives_tickets: bool) -> Arc<ServerConfig> {
    let mut config = server(&SERVER, version);
    if gives_tickets {
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    } else {
        config.session_storage = ServerSessionMemoryCache::new(1024);
    }
    Arc::new(config)
}

fn control(session: &ServerSession, server: &Arc<ServerConfig>) -> Pair {
    let pair = Pair::new(&session.config, session.name.clone(), server).run().unwrap();
    assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
    pair
}

fn kind(
    data: &Arc<ClientConfig>,
    session: &ServerSession,
    server: &Arc<ServerConfig>,
) -> HandshakeKind {
    let pair = Pair::new(data, session.name.clone(), server).run().unwrap();
    assert_eq!(pair.client.handshake_kind(), pair.server.handshake_kind());
    pair.client.handshake_kind().unwrap()
}

#[rstest]
fn case_38_two_hundred_data_connections_resume(
    #[values(0, 1)] version: usize,
    #[values(false, true)] gives_tickets: bool,
) {
    let (gateway, server) = (gateway(), keeping(VERSIONS[version], gives_tickets));
    let session = session(&gateway);
    let data = session.data(&control(&session, &server).client);
    for number in 0..200 {
        assert_eq!(kind(&data, &session, &server), HandshakeKind::Resumed, "{number}");
    }
}

/// A step of the time of day would leave nothing to resume: `faults: the clock steps by years` in the lab.
#[test]
fn sessions_age_by_a_clock_of_their_own() {
    let (gateway, server) = (gateway(), keeping(VERSIONS[1], false));
    let session = session(&gateway);
    let data = session.data(&control(&session, &server).client);
    assert!(Arc::ptr_eq(&session.config.time_provider, &data.time_provider));
    let clock = format!("{:?}", data.time_provider);
    assert!(clock.starts_with("Steady"), "{clock}");
}

/// Some give no ticket when a session is resumed.
#[test]
fn tickets_that_run_dry_cost_a_full_handshake_and_no_more() {
    let server = keeping(VERSIONS[1], false);
    let (gateway, mut dry) = (gateway(), ServerConfig::clone(&server));
    dry.send_tls13_tickets = 0;
    let dry = Arc::new(dry);
    let session = session(&gateway);
    let data = session.data(&control(&session, &server).client);
    let kinds = [0; 4].map(|_| kind(&data, &session, &dry));
    let (resumed, full) = (HandshakeKind::Resumed, HandshakeKind::Full);
    assert_eq!(kinds, [resumed, resumed, full, full]);
    assert_eq!(kind(&data, &session, &server), full);
    assert_eq!(kind(&data, &session, &server), resumed);
}

#[rstest]
fn another_control_connections_session_is_not_resumed(#[values(0, 1)] version: usize) {
    let (gateway, server) = (gateway(), keeping(VERSIONS[version], false));
    let (one, other) = (session(&gateway), session(&gateway));
    let _ = control(&one, &server);
    // Else it would be resumed.
    let _ = control(&other, &server);
}

#[test]
fn in_tls_1_2_the_control_connections_session_is_resumed_whatever_comes_later() {
    let (server, other) = (keeping(VERSIONS[0], false), keeping(VERSIONS[0], false));
    let gateway = gateway();
    let session = session(&gateway);
    let data = session.data(&control(&session, &server).client);
    // That one does not know the session, and agrees on one of its own.
    assert_eq!(kind(&data, &session, &other), HandshakeKind::Full);
    assert_eq!(kind(&data, &session, &other), HandshakeKind::Full);
    assert_eq!(kind(&data, &session, &server), HandshakeKind::Resumed);
}

#[rstest]
fn a_full_handshake_has_to_show_the_control_connections_certificate(
    #[values(0, 1)] version: usize,
    #[values(Verify::Full, Verify::Off)] verify: Verify,
) {
    let (_directory, mut settings) = settings();
    settings.verify = verify;
    let gateway = ServerSide::new(&settings).unwrap();
    let session = session(&gateway);
    let data = session.data(&control(&session, &keeping(VERSIONS[version], false)).client);
    let again = Arc::new(server(&SERVER, VERSIONS[version]));
    assert_eq!(kind(&data, &session, &again), HandshakeKind::Full);
    // Of the same CA, for the same name.
    let stranger = AUTHORITY.sign(params("ftp.example"));
    let stranger = Arc::new(server(&stranger, VERSIONS[version]));
    let failed = Pair::new(&data, session.name.clone(), &stranger).run().err().unwrap();
    let failure = Failure::with_server(&failed.client.unwrap(), &session);
    assert_eq!(failure.fault, TlsFault::UntrustedIssuer);
    assert!(failure.detail.contains("another certificate on the data connection"), "{failure}");
    assert_eq!(session.distrust(), None);
}

#[rstest]
#[case::agreed(&["ftp"], Some("ftp"), &["ftp-data", "ftp"], Some("ftp-data"))]
#[case::only_ftp(&["ftp"], Some("ftp"), &["ftp"], Some("ftp"))]
#[case::unknown(&[], None, &["http/1.1"], None)]
fn data_connections_name_a_protocol_if_the_control_connection_did(
    #[case] on_control: &[&str],
    #[case] control_is: Option<&str>,
    #[case] on_data: &[&str],
    #[case] data_is: Option<&str>,
) {
    let speaking = |names: &[&str]| {
        let mut config = server(&SERVER, VERSIONS[1]);
        config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    let gateway = gateway();
    let session = session(&gateway);
    let pair = control(&session, &speaking(on_control));
    assert_eq!(pair.client.alpn_protocol(), control_is.map(str::as_bytes));
    let data = session.data(&pair.client);
    let pair = Pair::new(&data, session.name.clone(), &speaking(on_data)).run().unwrap();
    assert_eq!(pair.client.alpn_protocol(), data_is.map(str::as_bytes));
}

/// A server that wants a certificate of its client.
fn wanting(version: &'static SupportedProtocolVersion, is_needed: bool) -> Arc<ServerConfig> {
    let roots = Arc::new(roots(&[&AUTHORITY]));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let verifier = if is_needed { verifier } else { verifier.allow_unauthenticated() };
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_cert_resolver(showing(&SERVER.certificate, &SERVER));
    Arc::new(config)
}

#[rstest]
fn a_server_that_needs_a_certificate_is_shown_one(#[values(0, 1)] version: usize) {
    let (directory, mut settings) = settings();
    let own = AUTHORITY.sign_client("gateway.example");
    let (chain, key) = own.write(directory.path());
    settings.certificate = Some(CertificateFiles { chain, key });
    let gateway = ServerSide::new(&settings).unwrap();
    let session = session(&gateway);
    let pair = control(&session, &wanting(VERSIONS[version], true));
    let shown = pair.server.peer_certificates().unwrap();
    assert_eq!(shown, std::slice::from_ref(&own.certificate));
    assert!(!session.wanted_certificate());
    let said = format!("{gateway:?} {session:?}");
    let secret = own.key.serialize_der();
    let last = format!("{:?}", &secret[secret.len() - 8..]);
    assert!(!said.contains(last.trim_matches(['[', ']'])), "{said}");
}

#[rstest]
fn a_server_that_asks_in_vain_is_noted(#[values(0, 1)] version: usize) {
    let gateway = gateway();
    let silent = session(&gateway);
    let _ = control(&silent, &keeping(VERSIONS[version], false));
    assert!(!silent.wanted_certificate());
    let asked = session(&gateway);
    let _ = control(&asked, &wanting(VERSIONS[version], false));
    assert!(asked.wanted_certificate());
    let needed = session(&gateway);
    let needing = wanting(VERSIONS[version], true);
    let failed = Pair::new(&needed.config, needed.name.clone(), &needing).run().err().unwrap();
    let error = failed.client.unwrap();
    assert!(
        matches!(
            error,
            Error::AlertReceived(AlertDescription::CertificateRequired)
                | Error::AlertReceived(AlertDescription::HandshakeFailure)
        ),
        "{error:?}"
    );
    let failure = Failure::with_server(&error, &needed);
    assert_eq!(failure.fault, TlsFault::ClientCertificateRequested, "{failure}");
}

#[rstest]
#[case("ab", None)]
#[case("", None)]
#[case("zz:00", None)]
fn a_fingerprint_is_64_hexadecimal_digits(#[case] text: &str, #[case] read: Option<[u8; 32]>) {
    assert_eq!(fingerprint(text), read);
    assert_eq!(fingerprint(&"0a:".repeat(32)), Some([10; 32]));
    assert_eq!(fingerprint(&"0A".repeat(32)), Some([10; 32]));
    assert_eq!(fingerprint(&"0a".repeat(33)), None);
    let settings = ServerSideSettings {
        fingerprints: vec![text.to_owned()],
        verify: Verify::Off,
        ..ServerSideSettings::default()
    };
    let fault = ServerSide::new(&settings).unwrap_err().to_string();
    assert!(fault.contains("64 hexadecimal digits"), "{fault}");
}
