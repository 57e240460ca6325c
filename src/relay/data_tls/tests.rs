//! Handshakes that come about, and those that do not.

use super::*;
use crate::relay::tests::peers::{BOTH, COMES_WITHIN, ONLY_12, ONLY_13, Party, Peer, connection};
use rstest::rstest;
use rustls::RootCertStore;
use rustls::SupportedProtocolVersion;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Versions = &'static [&'static SupportedProtocolVersion];

/// The gateway is the server, `client` the client.
async fn accepted(tls: LegTls, client: Arc<ClientConfig>) -> Result<Agreed, Failure> {
    let (ours, theirs) = connection().await;
    let peer = tokio::spawn(async move {
        if let Ok(mut peer) = Peer::connect(theirs, client).await {
            // The tickets of TLS 1.3 are on their way.
            peer.drain().await;
        }
    });
    let shaken = tls.shake_hands(ours, COMES_WITHIN).await.map(|(_, agreed)| agreed);
    peer.await.unwrap();
    shaken
}

/// The gateway is the client, `server` the server.
async fn connected(tls: LegTls, server: Arc<ServerConfig>) -> Result<Agreed, Failure> {
    let (ours, theirs) = connection().await;
    let peer = tokio::spawn(Peer::accept(theirs, server));
    let shaken = tls.shake_hands(ours, COMES_WITHIN).await.map(|(_, agreed)| agreed);
    let _ = peer.await.unwrap();
    shaken
}

fn fault(shaken: Result<Agreed, Failure>) -> TlsFault {
    shaken.expect_err("no handshake can come about").fault
}

#[rstest]
#[tokio::test]
async fn case_37_a_client_that_has_to_resume_is_refused_until_it_does(
    #[values(ONLY_12, ONLY_13)] versions: Versions,
) {
    let party = Party::new(versions);
    let required = LegTls::Accept { config: Arc::clone(&party.server), require_resumption: true };
    let refused = accepted(required.clone(), party.client.clone()).await;
    assert_eq!(fault(refused), TlsFault::NotResumed);
    // What the control connection leaves behind.
    let first = accepted(party.accept(), party.client.clone()).await.unwrap();
    assert_eq!(
        first.version,
        if versions == ONLY_12 { TlsVersion::Tls12 } else { TlsVersion::Tls13 }
    );
    assert!(accepted(required, party.client).await.unwrap().resumed);
}

#[tokio::test]
async fn case_37_a_session_of_another_party_is_not_resumed() {
    let (party, other) = (Party::new(BOTH), Party::new(BOTH));
    accepted(party.accept(), party.client.clone()).await.unwrap();
    // The same certificate, but none of the sessions.
    let mut config = ServerConfig::clone(&party.server);
    config.session_storage = Arc::clone(&other.server.session_storage);
    config.ticketer = Arc::clone(&other.server.ticketer);
    let config = Arc::new(config);
    let required = LegTls::Accept { config, require_resumption: true };
    assert_eq!(fault(accepted(required, party.client).await), TlsFault::NotResumed);
}

#[tokio::test]
async fn versions_that_do_not_meet_are_told_on_either_side() {
    let (old, new) = (Party::new(ONLY_12), Party::new(ONLY_13));
    let refused = accepted(new.accept(), old.client.clone()).await;
    assert_eq!(fault(refused), TlsFault::ProtocolVersion);
    assert_eq!(fault(connected(new.connect(), old.server).await), TlsFault::ProtocolVersion);
}

#[tokio::test]
async fn a_certificate_that_does_not_verify_ends_the_handshake() {
    let (party, other) = (Party::new(BOTH), Party::new(BOTH));
    let untrusted = connected(other.connect(), party.server).await;
    assert_eq!(fault(untrusted), TlsFault::BadCertificate);
}

#[tokio::test]
async fn a_peer_that_does_not_trust_says_so() {
    let (party, other) = (Party::new(BOTH), Party::new(BOTH));
    let refused = accepted(party.accept(), other.client).await;
    assert_eq!(fault(refused), TlsFault::AlertReceived);
}

#[tokio::test]
async fn a_client_without_the_certificate_that_is_due_is_refused() {
    let party = Party::new(BOTH);
    let mut roots = RootCertStore::empty();
    roots.add(party.certificate.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(&party.server.cert_resolver));
    let accept = LegTls::Accept { config: Arc::new(config), require_resumption: false };
    let refused = accepted(accept, party.client).await;
    assert_eq!(fault(refused), TlsFault::ClientCertificateRefused);
}

#[rstest]
#[case(b"226 Transfer complete.\r\n", TlsFault::Garbled)]
#[case(b"\x16\x03\x01\xff\xff", TlsFault::Garbled)]
#[case(b"", TlsFault::Closed)]
#[case(b"\x16\x03", TlsFault::Closed)]
#[tokio::test]
async fn what_is_no_handshake_is_refused(
    #[case] bytes: &[u8],
    #[case] expected: TlsFault,
    #[values(Side::Client, Side::Server)] side: Side,
) {
    let party = Party::new(BOTH);
    let tls = match side {
        Side::Client => party.accept(),
        Side::Server => party.connect(),
    };
    let (ours, mut theirs) = connection().await;
    theirs.write_all(bytes).await.unwrap();
    theirs.shutdown().await.unwrap();
    let shaken = tls.shake_hands(ours, COMES_WITHIN).await.map(|(_, agreed)| agreed);
    assert_eq!(fault(shaken), expected);
}

#[rstest]
#[tokio::test]
async fn case_45_a_peer_that_says_nothing_is_waited_for_so_long(
    #[values(Side::Client, Side::Server)] side: Side,
) {
    let party = Party::new(BOTH);
    let tls = match side {
        Side::Client => party.accept(),
        Side::Server => party.connect(),
    };
    let (ours, mut theirs) = connection().await;
    let limit = Duration::from_millis(100);
    let shaken = tls.shake_hands(ours, limit).await.map(|(_, agreed)| agreed);
    assert_eq!(fault(shaken), TlsFault::Timeout);
    let mut hello = Vec::new();
    let _ = timeout(COMES_WITHIN, theirs.read_to_end(&mut hello)).await.expect("it is closed");
}

#[test]
fn a_leg_begins_tls_where_the_plan_has_it_protected() {
    use crate::session::{Dial, Leg};
    use crate::terms::{DataPath, ProtectionLevel};
    let party = Party::new(BOTH);
    let to = "192.0.2.2:50000".parse().unwrap();
    let leg =
        Leg::Dial(Dial { to, from: "203.0.113.7".parse().unwrap(), foreign: false, third: false });
    let mut plan = TransferPlan {
        id: TransferId(1),
        path: DataPath::Relay,
        client: leg,
        server: leg,
        client_protection: ProtectionLevel::Private,
        server_protection: ProtectionLevel::Clear,
    };
    let mut legs = LegsTls::default();
    assert!(legs.of(&plan, Side::Client).is_none(), "nothing is known of it");
    legs.set(Side::Client, party.accept());
    legs.set(Side::Server, party.connect());
    assert!(matches!(legs.of(&plan, Side::Client), Some(LegTls::Accept { .. })));
    assert!(legs.of(&plan, Side::Server).is_none(), "it is clear");
    plan.server_protection = ProtectionLevel::Private;
    assert!(matches!(legs.of(&plan, Side::Server), Some(LegTls::Connect { .. })));
}
