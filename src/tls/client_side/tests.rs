//! Clients resume within their control connection and nowhere else; they are shown what they should be.

use super::*;
use crate::tls::ca::tests::{authority, now};
use crate::tls::leaf::tests::factory;
use crate::tls::server_side::CertificateFiles;
use crate::tls::tests::*;
use rstest::rstest;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error, HandshakeKind, NamedGroup};
use std::sync::LazyLock;
use std::sync::Mutex;

static AUTHORITY: LazyLock<Party> = LazyLock::new(|| Party::self_signed(ca_params("CA of a test")));

const REQUIRE: ClientSideSettings =
    ClientSideSettings { reuse: Reuse::Require, client_roots: None };
const PREFER: ClientSideSettings = ClientSideSettings { reuse: Reuse::Prefer, client_roots: None };

fn address() -> IpAddr {
    "198.51.100.1".parse().unwrap()
}

fn issuing(settings: &ClientSideSettings) -> ClientSide {
    ClientSide::new(settings, Some(LeafCache::new(factory())), None).unwrap()
}

/// Bears the names `ftp.example` and the address 192.0.2.21.
fn fixed() -> (tempfile::TempDir, Arc<FixedCertificate>) {
    let directory = tempfile::tempdir().unwrap();
    let mut params = params("ftp.example");
    params.subject_alt_names.push(rcgen::SanType::IpAddress("192.0.2.21".parse().unwrap()));
    let (chain, key) = AUTHORITY.sign(params).write(directory.path());
    (directory, Arc::new(FixedCertificate::open(&CertificateFiles { chain, key }).unwrap()))
}

fn own(name: &str) -> Shown<'_> {
    Shown::Own { name: Some(name), address: address() }
}

fn asking(version: usize, store: Arc<dyn ClientSessionStore>) -> Arc<ClientConfig> {
    Arc::new(client(VERSIONS[version], store))
}

/// Takes a ticket of TLS 1.3 once.
fn single_use() -> Arc<dyn ClientSessionStore> {
    Arc::new(ClientSessionMemoryCache::new(8))
}

/// Resumes the first session of TLS 1.2 again and again, as users of OpenSSL and GnuTLS do.
#[derive(Debug, Default)]
struct Keeps(Mutex<Option<Tls12ClientSessionValue>>);

impl ClientSessionStore for Keeps {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.lock().unwrap().get_or_insert(value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.lock().unwrap().clone()
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

fn kind(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
    let pair = Pair::new(client, name("ftp.example"), server).run().unwrap();
    assert_eq!(pair.client.handshake_kind(), pair.server.handshake_kind());
    pair.server.handshake_kind().unwrap()
}

#[rstest]
#[tokio::test]
async fn case_38_two_hundred_data_connections_resume(#[values(0, 1)] version: usize) {
    let side = issuing(&REQUIRE);
    let session = side.session(own("ftp.example"), now()).await.unwrap();
    let client = asking(version, single_use());
    assert_eq!(kind(&client, &session.control), HandshakeKind::Full);
    for number in 0..200 {
        assert_eq!(kind(&client, &session.data), HandshakeKind::Resumed, "{number}");
    }
}

#[tokio::test]
async fn one_session_of_tls_1_2_is_resumed_again_and_again() {
    let side = issuing(&PREFER);
    let session = side.session(own("ftp.example"), now()).await.unwrap();
    let client = asking(0, Arc::new(Keeps::default()));
    assert_eq!(kind(&client, &session.control), HandshakeKind::Full);
    // Others come between, each with a session of its own.
    for number in 0..200 {
        assert_eq!(kind(&client, &session.data), HandshakeKind::Resumed, "{number}");
        assert_eq!(kind(&asking(0, single_use()), &session.data), HandshakeKind::Full);
    }
}

#[rstest]
#[tokio::test]
async fn case_37_another_control_connections_session_is_not_resumed(
    #[values(0, 1)] version: usize,
) {
    let side = issuing(&REQUIRE);
    let session = side.session(own("ftp.example"), now()).await.unwrap();
    let other = side.session(own("ftp.example"), now()).await.unwrap();
    let client = asking(version, single_use());
    assert_eq!(kind(&client, &session.control), HandshakeKind::Full);
    assert_eq!(kind(&client, &other.data), HandshakeKind::Full);
    assert_eq!(kind(&client, &other.control), HandshakeKind::Resumed, "what that one gave");
}

#[rstest]
#[tokio::test]
async fn off_offers_no_resumption(#[values(0, 1)] version: usize) {
    let side = issuing(&ClientSideSettings { reuse: Reuse::Off, client_roots: None });
    assert_eq!(side.reuse(), Reuse::Off);
    let session = side.session(own("ftp.example"), now()).await.unwrap();
    let client = asking(version, single_use());
    for config in [&session.control, &session.data, &session.data] {
        assert_eq!(kind(&client, config), HandshakeKind::Full);
    }
}

/// The protocol agreed on, or what the gateway says of the client.
fn protocol(config: &Arc<ServerConfig>, names: &[&str]) -> Result<Option<String>, Option<Error>> {
    let mut client = ClientConfig::clone(&asking(1, single_use()));
    client.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    let pair = Pair::new(&Arc::new(client), name("ftp.example"), config).run();
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    pair.map(|pair| pair.server.alpn_protocol().map(text)).map_err(|failed| failed.server)
}

#[tokio::test]
async fn case_29_only_ftp_is_spoken() {
    let session = issuing(&PREFER).session(own("ftp.example"), now()).await.unwrap();
    let refused = Err(Some(Error::NoApplicationProtocol));
    for config in [&session.control, &session.data] {
        assert_eq!(protocol(config, &[]), Ok(None));
        assert_eq!(protocol(config, &["h2", "ftp"]), Ok(Some("ftp".to_owned())));
        assert_eq!(protocol(config, &["http/1.1"]), refused);
    }
    assert_eq!(protocol(&session.control, &["ftp-data"]), refused);
    assert_eq!(protocol(&session.data, &["ftp", "ftp-data"]), Ok(Some("ftp-data".to_owned())));
}

fn certificate(session: &ClientSession) -> CertificateDer<'static> {
    let shown = [&session.control, &session.data].map(|config| {
        let client = asking(1, single_use());
        let pair = Pair::new(&client, name("ftp.example"), config).run().unwrap();
        pair.client.peer_certificates().unwrap()[0].clone().into_owned()
    });
    assert_eq!(shown[0], shown[1]);
    let [certificate, _] = shown;
    certificate
}

fn bears(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let end_entity = webpki::EndEntityCert::try_from(certificate).unwrap();
    end_entity.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).is_ok()
}

#[tokio::test]
async fn control_and_data_connections_show_the_same_leaf() {
    let side = issuing(&PREFER);
    let server = AUTHORITY.sign(params("ftp.example")).certificate;
    let shown = Shown::InPlaceOf { server: &server, by: SignedBy::LocalCa };
    let session = side.session(shown, now()).await.unwrap();
    assert_eq!(session.leaf, Some(Source::Issued));
    let leaf = certificate(&session);
    assert!(leaf != server && bears(&leaf, "ftp.example"));
    let session = side.session(shown, now()).await.unwrap();
    assert_eq!(session.leaf, Some(Source::Cache));
}

#[rstest]
#[case::name(Some("A.Example"), "a.example", true)]
#[case::address(None, "198.51.100.1", true)]
#[case::no_name(Some("a b"), "198.51.100.1", true)]
#[case::other(Some("a.example"), "b.example", false)]
#[tokio::test]
async fn own_and_refusal_are_issued_for_what_was_asked(
    #[case] name: Option<&str>,
    #[case] looked_for: &str,
    #[case] is_borne: bool,
) {
    let side = issuing(&PREFER);
    let address = address();
    for shown in [Shown::Own { name, address }, Shown::Refusal { name, address }] {
        let leaf = certificate(&side.session(shown, now()).await.unwrap());
        assert_eq!(bears(&leaf, looked_for), is_borne);
        let issuer = authority();
        let (_, x509) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        let (_, ca) = x509_parser::parse_x509_certificate(issuer.certificate()).unwrap();
        assert_eq!(x509.issuer(), ca.subject());
    }
}

#[tokio::test]
async fn case_29_a_fixed_certificate_is_shown_for_its_names_only() {
    let (_directory, fixed) = fixed();
    let side = ClientSide::new(&PREFER, None, Some(fixed)).unwrap();
    let nameless = Shown::Own { name: None, address: address() };
    for shown in [own("ftp.example"), own("FTP.EXAMPLE"), nameless] {
        let session = side.session(shown, now()).await.unwrap();
        assert_eq!(session.leaf, None);
        assert!(bears(&certificate(&session), "ftp.example"));
    }
    let failure = side.session(own("www.example"), now()).await.unwrap_err();
    assert_eq!(failure.fault, TlsFault::UnrecognizedName);
    assert_eq!(failure.alert(), [21, 3, 3, 0, 2, 2, 112]);
    assert!(failure.detail.contains("www.example"), "{failure}");
    let refusal = Shown::Refusal { name: Some("www.example"), address: address() };
    assert!(side.session(refusal, now()).await.is_ok());
    let server = AUTHORITY.sign(params("ftp.example")).certificate;
    let shown = Shown::InPlaceOf { server: &server, by: SignedBy::LocalCa };
    assert_eq!(side.session(shown, now()).await.unwrap_err().fault, TlsFault::Internal);
}

#[tokio::test]
async fn with_both_the_fixed_is_the_gateways_own_and_refusals_are_issued() {
    let (_directory, fixed) = fixed();
    let side = ClientSide::new(&PREFER, Some(LeafCache::new(factory())), Some(fixed)).unwrap();
    let session = side.session(own("ftp.example"), now()).await.unwrap();
    assert_eq!(session.leaf, None);
    let refusal = Shown::Refusal { name: Some("www.example"), address: address() };
    let session = side.session(refusal, now()).await.unwrap();
    assert_eq!(session.leaf, Some(Source::Issued));
    assert!(bears(&certificate(&session), "www.example"));
}

#[test]
fn there_has_to_be_something_to_show() {
    let fault = ClientSide::new(&PREFER, None, None).unwrap_err();
    assert!(fault.to_string().contains("neither a local CA nor a fixed certificate"), "{fault}");
}
