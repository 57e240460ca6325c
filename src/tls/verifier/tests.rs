//! Which servers are trusted, and what is said of the others.

use crate::report::TlsFault;
use crate::tls::failure::Failure;
use crate::tls::server_side::*;
use crate::tls::tests::*;
use crate::tls::words;
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, SanType};
use rstest::rstest;
use rustls::CertificateError;
use std::fs;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

const ADDRESS: &str = "203.0.113.7";

/// Who signs for servers in these tests.
static AUTHORITY: LazyLock<Party> = LazyLock::new(|| Party::self_signed(ca_params("CA of a test")));

fn address() -> IpAddr {
    ADDRESS.parse().unwrap()
}

/// A gateway that trusts what `roots` (PEM) holds.
fn gateway(roots: &str, change: impl FnOnce(&mut ServerSideSettings)) -> ServerSide {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roots.pem");
    fs::write(&file, roots).unwrap();
    let mut settings =
        ServerSideSettings { roots: ServerRoots::File(file), ..ServerSideSettings::default() };
    change(&mut settings);
    ServerSide::new(&settings).unwrap()
}

/// What came of a handshake: whether it was completed, and why the server is not trusted.
fn meet(gateway: &ServerSide, server: &Party, asked: Option<&str>) -> (bool, Option<Failure>) {
    let [outcome, other] = VERSIONS.map(|version| {
        let session = gateway.session(asked, None, address()).unwrap();
        let server = Arc::new(super::super::tests::server(server, version));
        let met = Pair::new(&session.config, session.name.clone(), &server).run();
        if let Err(failed) = &met {
            let error = failed.client.as_ref().expect("it is the client that refuses");
            assert_eq!(session.distrust(), Some(Failure::with_server(error, &session)));
        }
        (met.is_ok(), session.distrust())
    });
    assert_eq!(outcome, other, "both versions");
    outcome
}

fn fault(gateway: &ServerSide, server: &Party, asked: Option<&str>) -> Option<TlsFault> {
    let (completed, distrust) = meet(gateway, server, asked);
    assert_eq!(completed, distrust.is_none());
    distrust.map(|failure| failure.fault)
}

fn signed(change: impl FnOnce(&mut CertificateParams)) -> Party {
    let mut params = params("ftp.example");
    change(&mut params);
    AUTHORITY.sign(params)
}

fn expire(params: &mut CertificateParams) {
    params.not_after = rcgen::date_time_ymd(2020, 1, 2);
}

#[rstest]
#[case::its_name(Some("ftp.example"), None)]
#[case::in_capitals(Some("FTP.Example"), None)]
#[case::another(Some("www.example"), Some(TlsFault::WrongName))]
#[case::no_name_but_the_address(None, Some(TlsFault::WrongName))]
fn the_name_asked_for_is_verified(#[case] asked: Option<&str>, #[case] said: Option<TlsFault>) {
    assert_eq!(fault(&gateway(&AUTHORITY.pem, |_| {}), &signed(|_| {}), asked), said);
}

#[test]
fn without_a_name_the_listeners_host_is_verified_else_the_address() {
    let gateway = gateway(&AUTHORITY.pem, |_| {});
    let by_host = gateway.session(None, Some("ftp.example"), address()).unwrap();
    assert_eq!(by_host.name, name("ftp.example"));
    let by_sni = gateway.session(Some("a.example"), Some("ftp.example"), address()).unwrap();
    assert_eq!(by_sni.name, name("a.example"));
    let of_address =
        signed(|params| params.subject_alt_names = vec![SanType::IpAddress(address())]);
    assert_eq!(fault(&gateway, &of_address, None), None);
    assert_eq!(fault(&gateway, &of_address, Some("ftp.example")), Some(TlsFault::WrongName));
    let bad = gateway.session(Some("no name"), None, address()).unwrap_err();
    assert_eq!(bad.fault, TlsFault::WrongName);
}

#[test]
fn a_name_is_asked_for_by_sni_and_an_address_is_not() {
    for (asked, sni) in [(Some("ftp.example"), Some("ftp.example")), (None, None)] {
        let session = gateway(&AUTHORITY.pem, |settings| settings.verify = Verify::Off)
            .session(asked, None, address())
            .unwrap();
        let server = Arc::new(server(&signed(|_| {}), VERSIONS[1]));
        let pair = Pair::new(&session.config, session.name.clone(), &server).run().unwrap();
        assert_eq!(pair.server.server_name(), sni);
    }
}

#[test]
fn chain_ignores_the_name_and_nothing_else() {
    let gateway = gateway(&AUTHORITY.pem, |settings| settings.verify = Verify::Chain);
    assert_eq!(fault(&gateway, &signed(|_| {}), Some("www.example")), None);
    assert_eq!(fault(&gateway, &signed(|_| {}), None), None);
    assert_eq!(fault(&gateway, &signed(expire), None), Some(TlsFault::Expired));
    let stranger = Party::self_signed(params("ftp.example"));
    assert_eq!(fault(&gateway, &stranger, None), Some(TlsFault::UntrustedIssuer));
}

#[test]
fn off_takes_anything() {
    let gateway = ServerSide::new(&ServerSideSettings {
        verify: Verify::Off,
        ..ServerSideSettings::default()
    })
    .unwrap();
    for server in [
        signed(|_| {}),
        signed(expire),
        signed(unknown_critical_extension),
        Party::self_signed(params("ftp.example")),
        Party::self_signed(ca_params("ftp.example")),
    ] {
        assert_eq!(fault(&gateway, &server, Some("www.example")), None);
    }
}

#[rstest]
#[case::expired(expire, TlsFault::Expired)]
#[case::early(begin_late, TlsFault::Expired)]
#[case::for_clients(only_for_clients, TlsFault::BadCertificate)]
#[case::critical(unknown_critical_extension, TlsFault::BadCertificate)]
#[case::ca(become_ca, TlsFault::BadCertificate)]
fn what_is_wrong_is_told(#[case] change: fn(&mut CertificateParams), #[case] said: TlsFault) {
    let gateway = gateway(&AUTHORITY.pem, |_| {});
    assert_eq!(fault(&gateway, &signed(change), Some("ftp.example")), Some(said));
}

fn begin_late(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2090, 1, 2);
}

fn only_for_clients(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

fn become_ca(params: &mut CertificateParams) {
    *params = ca_params("ftp.example");
}

fn unknown_critical_extension(params: &mut CertificateParams) {
    let mut extension =
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions = vec![extension];
}

#[rstest]
#[case::end_entity(params("ftp.example"))]
#[case::ca_true(ca_params("ftp.example"))]
fn a_self_signed_certificate_is_trusted_by_pinning(#[case] params: CertificateParams) {
    let server = Party::self_signed(params);
    let another = Party::self_signed(server.params.clone());
    let listed = gateway(&server.pem, |_| {});
    let by_sum = gateway(&AUTHORITY.pem, |settings| {
        settings.fingerprints = vec![with_colons(&words::fingerprint(&server.certificate))];
    });
    for gateway in [listed, by_sum] {
        for asked in [Some("ftp.example"), Some("www.example"), None] {
            assert_eq!(fault(&gateway, &server, asked), None, "{asked:?}");
        }
        // The same in every word, and another key.
        assert_eq!(fault(&gateway, &another, Some("ftp.example")), Some(TlsFault::UntrustedIssuer));
    }
}

/// As OpenSSL prints it.
fn with_colons(sum: &str) -> String {
    let pairs: Vec<_> =
        sum.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
    pairs.join(":").to_uppercase()
}

#[test]
fn a_certificate_that_a_ca_signed_can_be_pinned_whoever_signed_it() {
    let server = signed(unknown_critical_extension);
    let gateway = gateway(&server.pem, |_| {});
    assert_eq!(fault(&gateway, &server, Some("www.example")), None);
    assert_eq!(fault(&gateway, &signed(|_| {}), None), Some(TlsFault::UntrustedIssuer));
}

#[test]
fn a_pinned_certificate_ends_when_it_says() {
    let mut params = params("ftp.example");
    expire(&mut params);
    let server = Party::self_signed(params);
    assert_eq!(fault(&gateway(&server.pem, |_| {}), &server, None), Some(TlsFault::Expired));
}

#[test]
fn a_pinned_certificate_of_no_ca_signs_nothing() {
    let pinned = Party::self_signed(params("ftp.example"));
    let forged = pinned.sign(params("www.example"));
    let gateway = gateway(&pinned.pem, |_| {});
    assert_eq!(fault(&gateway, &forged, Some("www.example")), Some(TlsFault::UntrustedIssuer));
}

#[test]
fn mirror_goes_on_and_keeps_the_reason() {
    let gateway = gateway(&AUTHORITY.pem, |settings| settings.untrusted = Untrusted::Mirror);
    let (completed, distrust) = meet(&gateway, &signed(expire), Some("ftp.example"));
    assert!(completed);
    assert_eq!(distrust.unwrap().fault, TlsFault::Expired);
    assert_eq!(meet(&gateway, &signed(|_| {}), Some("ftp.example")), (true, None));
}

#[test]
fn a_reason_names_the_certificate_escaped_and_bounded() {
    let server = signed(|params| {
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, "a\r\nb\u{202e}c".repeat(30));
        params.subject_alt_names.push(SanType::IpAddress("2001:db8::1".parse().unwrap()));
        params.not_after = rcgen::date_time_ymd(2090, 1, 2);
    });
    let (_, distrust) = meet(&gateway(&AUTHORITY.pem, |_| {}), &server, Some("www.example"));
    let said = distrust.unwrap().detail;
    assert!(!said.contains(['\r', '\n', '\u{202e}']), "{said}");
    assert!(said.len() < 1200, "{said}");
    for part in [
        "it is not for www.example",
        "CN=ftp.example",
        "a\\r\\nb\\u{202e}c",
        "names ftp.example, 2001:db8::1",
        "issuer CN=CA of a test",
        "to 2090-01-02",
        &words::fingerprint(&server.certificate),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_server_without_the_key_is_refused_whatever_is_verified() {
    let (honest, thief) = (signed(|_| {}), signed(|_| {}));
    for verify in [Verify::Full, Verify::Chain, Verify::Off] {
        let gateway = gateway(&AUTHORITY.pem, |settings| settings.verify = verify);
        for version in VERSIONS {
            let mut config = server(&honest, version);
            config.cert_resolver = showing(&honest.certificate, &thief);
            let session = gateway.session(Some("ftp.example"), None, address()).unwrap();
            let pair = Pair::new(&session.config, session.name.clone(), &Arc::new(config));
            let error = pair.run().err().unwrap().client.unwrap();
            assert_eq!(error, CertificateError::BadSignature.into());
            let failure = Failure::with_server(&error, &session);
            assert_eq!(failure.fault, TlsFault::BadCertificate, "{failure}");
        }
    }
}
