//! Clients accept a leaf for what they would have accepted the server for, and for nothing else;
//! whatever a server sends in its certificate, nothing panics and nothing grows.

use super::*;
use crate::tls::ca::tests::{authority, now, replace};
use proptest::prelude::*;
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

#[test]
fn other_names_and_odd_ones_are_left_out() {
    let leaf = issue(&named(vec![
        SanType::Rfc822Name("a@ftp.example".try_into().unwrap()),
        SanType::URI("ftp://ftp.example/".try_into().unwrap()),
        dns("bank.example\0.evil.example"),
        dns("two words"),
        dns(""),
        dns(&"x".repeat(254)),
        dns("_odd-but.example"),
    ]));
    assert_eq!(leaf_names(&leaf), ["DNSName(_odd-but.example)"]);
    // An address of five bytes is none.
    let address = SanType::IpAddress("192.0.2.7".parse().unwrap());
    let five = replace(
        &named(vec![address, dns("a")]),
        &[0x87, 4, 192, 0, 2, 7, 0x82, 1, b'a'],
        &[0x87, 7, 192, 0, 2, 7, 0, 0, 0],
    );
    assert_eq!(leaf_names(&issue(&five)), Vec::<String>::new());
}

#[test]
fn many_names_are_bounded() {
    let many: Vec<_> = (0..2000).map(|n| dns(&format!("h{n}"))).collect();
    let leaf = issue(&named(many));
    assert_eq!(leaf_names(&leaf).len(), MOST_NAMES);
    assert_eq!(client_says(&leaf, "h511", now()), Ok(()));
    assert!(client_says(&leaf, "h512", now()).is_err());

    let long: Vec<_> =
        (100..300).map(|n| dns(&"x.y".repeat(80).replacen("x.y", &n.to_string(), 1))).collect();
    let leaf = issue(&named(long));
    assert_eq!(leaf_names(&leaf).len(), MOST_NAME_BYTES / 240);

    let huge = named((0..8000).map(|n| dns(&format!("host-{n}"))).collect());
    assert!(huge.len() > LONGEST_CERTIFICATE);
    let error = FACTORY.issue(&huge, SignedBy::LocalCa, now()).unwrap_err();
    assert_eq!(error, LeafError::TooLong);
}

/// Bytes of the same length in place of a value of the subject.
#[rstest]
// The encoder panics at it in a PrintableString.
#[case(b"ftp?example", "CN=ftp?example")]
// Underlined as no PrintableString may be; seen from servers all the same.
#[case(b"ftp_example", "CN=ftp_example")]
#[case(b"ftp*example", "CN=ftp*example")]
fn strings_that_are_not_what_they_say(#[case] value: &[u8], #[case] expected: &str) {
    let plain = server_with(|params| {
        params.subject_alt_names.clear();
        let value = PrintableString::try_from("ftp.example").unwrap();
        params.distinguished_name.push(DnType::CommonName, DnValue::PrintableString(value));
    });
    let odd = replace(&plain, b"ftp.example", value);
    assert_eq!(subject(&issue(&odd)), expected);
}

#[test]
fn what_is_no_certificate_is_refused() {
    let whole = server(1);
    for cut in 0..whole.len() {
        let part = CertificateDer::from(whole[..cut].to_vec());
        assert_eq!(
            FACTORY.issue(&part, SignedBy::LocalCa, now()).unwrap_err(),
            LeafError::Unreadable
        );
    }
    let longer = CertificateDer::from([&whole, &b"\0"[..]].concat());
    let error = FACTORY.issue(&longer, SignedBy::LocalCa, now()).unwrap_err();
    assert_eq!(error, LeafError::Unreadable);
}

/// Days from now: begin and end of the server's certificate, end of the CA; those of the leaf.
#[rstest]
#[case::usual((-30, 60), 3650, Ok((0, 7)))]
#[case::server_ends_soon((-30, 3), 3650, Ok((0, 3)))]
#[case::ca_ends_soon((-30, 60), 2, Ok((0, 2)))]
#[case::expired((-90, -30), 3650, Ok((-90, -30)))]
#[case::not_yet_valid((10, 60), 3650, Ok((10, 17)))]
#[case::ca_expired((-30, 60), -1, Err(LeafError::CaExpired))]
#[case::ca_ends_before_the_server_begins((10, 60), 5, Err(LeafError::CaExpired))]
#[case::backwards((5, -5), 3650, Err(LeafError::NeverValid))]
fn windows(
    #[case] server: (i64, i64),
    #[case] ca_end: i64,
    #[case] expected: Result<(i64, i64), LeafError>,
) {
    let now = OffsetDateTime::from(now());
    let day = |days: i64| now + time::Duration::days(days);
    let expected = expected.map(|(from, until)| match from {
        0 => (now - BACKDATING, day(until)),
        _ => (day(from), day(until)),
    });
    assert_eq!(window((day(server.0), day(server.1)), day(ca_end), now), expected);
}

#[test]
fn a_leaf_does_not_begin_before_the_server_does() {
    let now = OffsetDateTime::from(now());
    let begin = now - Duration::from_secs(60);
    let end = now + LIFE * 2;
    assert_eq!(window((begin, end), end, now), Ok((begin, now + LIFE)));
    // RFC 5280 §4.1.2.5: 99991231235959Z says that there is no end.
    let never = time::PrimitiveDateTime::new(time::Date::MAX, time::Time::MIDNIGHT).assume_utc();
    assert_eq!(never.year(), 9999);
    assert_eq!(window((begin, never), never, now), Ok((begin, now + LIFE)));
    assert_eq!(window((never, never), never, now), Ok((never, never)));
}

#[test]
fn the_client_sees_that_the_server_has_expired() {
    let expired = server_with(|params| params.not_after = (now() - DAY).into());
    let leaf = issue(&expired);
    let says = client_says(&leaf, "ftp.example", now());
    assert!(matches!(says, Err(CertificateError::ExpiredContext { .. })), "{says:?}");
    assert_eq!(leaf.not_after, now() - DAY);
}

proptest! {
    /// Any bytes of a certificate may be others.
    #[test]
    fn changed_certificates_give_bounded_leaves_or_errors(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        static PLAIN: LazyLock<CertificateDer<'static>> = LazyLock::new(|| {
            server_with(|params| {
                let name = &mut params.distinguished_name;
                let text = PrintableString::try_from("Printable").unwrap();
                name.push(DnType::OrganizationName, DnValue::PrintableString(text));
                name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), "12");
                let wide = BmpString::try_from("wide").unwrap();
                name.push(DnType::LocalityName, DnValue::BmpString(wide));
                let names = &mut params.subject_alt_names;
                names.push(SanType::IpAddress("192.0.2.7".parse().unwrap()));
                names.push(SanType::URI("ftp://ftp.example".try_into().unwrap()));
            })
        });
        let mut bytes = PLAIN.to_vec();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(leaf) = FACTORY.issue(&bytes.into(), SignedBy::LocalCa, now()) {
            let der = &leaf.certified.cert[0];
            prop_assert!(der.len() < 2 * PLAIN.len());
            prop_assert!(X509Certificate::from_der(der).unwrap().0.is_empty());
        }
    }

    /// Attributes of every type and kind of string, with any bytes in them.
    #[test]
    fn any_subject_gives_a_leaf_or_an_error(
        tag in any::<u8>(),
        kind in prop::array::uniform3(any::<u8>()),
        text in prop::array::uniform9(any::<u8>()),
    ) {
        static PLAIN: LazyLock<CertificateDer<'static>> = LazyLock::new(|| {
            server_with(|params| {
                params.distinguished_name.push(DnType::OrganizationName, "Plaintext");
            })
        });
        let old = [&[6, 3, 0x55, 4, 10, 12, 9][..], b"Plaintext"].concat();
        let new = [&[6, 3][..], &kind, &[tag, 9], &text].concat();
        let odd = replace(&PLAIN, &old, &new);
        if let Ok(leaf) = FACTORY.issue(&odd, SignedBy::LocalCa, now()) {
            prop_assert_eq!(client_says(&leaf, "ftp.example", now()), Ok(()));
        }
        let known = [&[6, 3, 0x55, 4, 10, tag, 9][..], &text].concat();
        if let Ok(leaf) = FACTORY.issue(&replace(&PLAIN, &old, &known), SignedBy::LocalCa, now()) {
            prop_assert_eq!(client_says(&leaf, "ftp.example", now()), Ok(()));
        }
    }
}
