//! Clients accept a leaf for what they would have accepted the server for, and for nothing else;
//! whatever a server sends in its certificate, nothing panics and nothing grows.

use super::*;
use crate::tls::ca::tests::{authority, now, replace};
use rcgen::string::{BmpString, PrintableString};
use rcgen::{DnType, DnValue, KeyPair, PublicKeyData};
use rstest::rstest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use std::net::IpAddr;
use std::sync::LazyLock;

mod odd;
mod validity;

pub(in crate::tls) fn factory() -> LeafFactory {
    LeafFactory::new(authority(), now()).unwrap()
}

static FACTORY: LazyLock<LeafFactory> = LazyLock::new(factory);
/// Its signatures have nothing random in them: one server's certificate is always the same.
static SERVER_KEY: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());

/// A server's certificate, self-signed: valid from 30 days ago for 90 days.
fn server_with(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(["ftp.example".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "ftp.example");
    params.not_before = (now() - 30 * DAY).into();
    params.not_after = (now() + 60 * DAY).into();
    change(&mut params);
    params.self_signed(&*SERVER_KEY).unwrap().into()
}

/// One of many servers.
pub(in crate::tls) fn server(number: usize) -> CertificateDer<'static> {
    server_with(|params| {
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&number.to_be_bytes()));
    })
}

fn named(names: Vec<SanType>) -> CertificateDer<'static> {
    server_with(|params| params.subject_alt_names = names)
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(FACTORY.local.certificate().clone()).unwrap();
    Arc::new(roots)
}

fn at(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

/// What a client that trusts the local CA says at `time` to a leaf, looking for `name`.
fn client_says(leaf: &Leaf, name: &str, time: SystemTime) -> Result<(), CertificateError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(), provider).build().unwrap();
    let [end_entity, chain @ ..] = leaf.certified.cert.as_slice() else { panic!("no leaf") };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    match verifier.verify_server_cert(end_entity, chain, &name, &[], at(time)) {
        Ok(_) => Ok(()),
        Err(Error::InvalidCertificate(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

fn issue(server: &CertificateDer<'_>) -> Leaf {
    FACTORY.issue(server, SignedBy::LocalCa, now()).unwrap()
}

fn parsed<T>(leaf: &Leaf, read: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    read(&X509Certificate::from_der(&leaf.certified.cert[0]).unwrap().1)
}

fn leaf_names(leaf: &Leaf) -> Vec<String> {
    parsed(leaf, |x509| {
        let names = x509.subject_alternative_name().unwrap();
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        names.iter().map(ToString::to_string).collect()
    })
}

fn subject(leaf: &Leaf) -> String {
    parsed(leaf, |x509| x509.subject().to_string())
}

#[test]
fn a_client_accepts_a_leaf_for_the_servers_names_and_no_other() {
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    let v6: IpAddr = "2001:db8::7".parse().unwrap();
    let leaf = issue(&named(vec![
        dns("ftp.example"),
        dns("*.mirror.example"),
        SanType::IpAddress(address),
        SanType::IpAddress(v6),
    ]));
    for name in ["ftp.example", "a.mirror.example", "192.0.2.7", "2001:db8::7"] {
        assert_eq!(client_says(&leaf, name, now()), Ok(()), "{name}");
    }
    for name in ["other.example", "mirror.example", "a.b.mirror.example", "192.0.2.8"] {
        let Err(CertificateError::NotValidForNameContext { .. }) = client_says(&leaf, name, now())
        else {
            panic!("{name}")
        };
    }
}

#[test]
fn a_leaf_serves_servers_only() {
    let leaf = issue(&server(1));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(), provider).build().unwrap();
    let chain = &leaf.certified.cert;
    let error = verifier.verify_client_cert(&chain[0], &chain[1..], at(now())).unwrap_err();
    let Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. }) = error else {
        panic!("{error:?}")
    };
    parsed(&leaf, |x509| {
        assert!(!x509.is_ca());
        assert!(x509.key_usage().unwrap().unwrap().value.digital_signature());
    });
}

#[test]
fn the_untrusted_issuer_is_not_trusted_and_says_why() {
    let leaf = FACTORY.issue(&server(1), SignedBy::Untrusted, now()).unwrap();
    assert_eq!(client_says(&leaf, "ftp.example", now()), Err(CertificateError::UnknownIssuer));
    let issuer = parsed(&leaf, |x509| x509.issuer().to_string());
    assert!(issuer.contains("did not verify"), "{issuer}");
    let local = issue(&server(1));
    assert_ne!(leaf.certified.cert[1], local.certified.cert[1]);
}

#[test]
fn leaves_share_a_key_and_not_a_serial_number() {
    let (one, other) = (issue(&server(1)), issue(&server(1)));
    let key = |leaf: &Leaf| parsed(leaf, |x509| x509.public_key().raw.to_vec());
    assert_eq!(key(&one), key(&other));
    assert_eq!(key(&one), FACTORY.key.subject_public_key_info());
    assert!(one.certified.keys_match().is_ok());
    let serial = |leaf: &Leaf| parsed(leaf, |x509| x509.raw_serial().to_vec());
    assert_ne!(serial(&one), serial(&other));
    let numbered =
        FACTORY.issue_numbered(&server(1), SignedBy::LocalCa, now(), Serial([1; 16])).unwrap();
    assert_eq!(serial(&numbered), [&[0x41][..], &[1; 15]].concat());
}

#[test]
fn a_handshake_with_a_leaf_succeeds() {
    let leaf = issue(&server(1));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(leaf.certified)));
    #[derive(Debug)]
    struct Clock;
    impl rustls::time_provider::TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            Some(at(now()))
        }
    }
    let client = rustls::ClientConfig::builder_with_details(provider, Arc::new(Clock))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth();
    let name = ServerName::try_from("ftp.example").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    for _ in 0..4 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets().unwrap();
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
}

#[test]
fn the_subject_is_the_servers() {
    let leaf = issue(&server_with(|params| {
        let name = &mut params.distinguished_name;
        let country = PrintableString::try_from("DE").unwrap();
        name.push(DnType::CountryName, DnValue::PrintableString(country));
        name.push(DnType::OrganizationName, "Ämter & Söhne");
        let place = BmpString::try_from("Köln").unwrap();
        name.push(DnType::LocalityName, DnValue::BmpString(place));
        name.push(DnType::CustomDnType(vec![1, 2, 3, 4]), "left out");
        name.push(DnType::OrganizationalUnitName, "x".repeat(LONGEST_DNS_NAME + 100));
    }));
    parsed(&leaf, |x509| {
        let (_, own) = X509Certificate::from_der(FACTORY.local.certificate()).unwrap();
        assert_eq!(x509.issuer().as_raw(), own.subject().as_raw());
        let attributes: Vec<_> = x509
            .subject()
            .iter_attributes()
            .map(|attribute| {
                (attribute.attr_type().to_id_string(), attribute.attr_value().data.to_vec())
            })
            .collect();
        let expected: [(&str, &[u8]); 4] = [
            ("2.5.4.3", b"ftp.example"),
            ("2.5.4.6", b"DE"),
            ("2.5.4.10", "Ämter & Söhne".as_bytes()),
            ("2.5.4.7", b"\0K\0\xf6\0l\0n"),
        ];
        let expected = expected.map(|(kind, value)| (kind.to_owned(), value.to_vec()));
        assert_eq!(attributes, expected);
    });
}

#[test]
fn a_common_name_alone_stays_alone() {
    let leaf = issue(&named(Vec::new()));
    assert_eq!(subject(&leaf), "CN=ftp.example");
    assert_eq!(leaf_names(&leaf), Vec::<String>::new());
    let says = client_says(&leaf, "ftp.example", now());
    assert!(matches!(says, Err(CertificateError::NotValidForNameContext { .. })), "{says:?}");
}
