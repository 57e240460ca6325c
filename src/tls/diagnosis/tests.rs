//! Failures are told apart, and their words name the peer's offer.

use super::*;
use crate::tls::hello::tests::{hello, ssl2};
use crate::tls::server_side::{ServerSide, ServerSideSettings, Verify};
use rstest::rstest;
use rustls::server::Acceptor;
use rustls::{InvalidMessage, ServerConfig};
use std::sync::Arc;

fn session() -> ServerSession {
    let settings = ServerSideSettings { verify: Verify::Off, ..ServerSideSettings::default() };
    let side = ServerSide::new(&settings).unwrap();
    side.session(Some("ftp.example"), None, "203.0.113.7".parse().unwrap()).unwrap()
}

fn says(failure: &Failure, fault: TlsFault, words: &[&str]) {
    assert_eq!(failure.fault, fault, "{failure}");
    for words in words {
        assert!(failure.detail.contains(words), "{words}: {failure}");
    }
    assert!(!failure.detail.contains(char::is_control), "{failure}");
}

/// What a server of rustls says to a client that sends these bytes.
fn refused(bytes: &[u8]) -> Error {
    let party = crate::tls::tests::Party::self_signed(crate::tls::tests::params("ftp.example"));
    let config: Arc<ServerConfig> =
        Arc::new(crate::tls::tests::server(&party, &rustls::version::TLS12));
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).unwrap();
    }
    match acceptor.accept() {
        Err((error, _)) => error,
        Ok(Some(accepted)) => accepted.into_connection(config).expect_err("it is refused").0,
        Ok(None) => panic!("the hello is not whole"),
    }
}

/// supported_groups X25519, signature_algorithms ECDSA P-256: what rustls wants to see.
const EXTENSIONS: [u8; 16] = [0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 4, 0, 2, 4, 3];

#[rstest]
#[case::tls_1_0(hello(0x0301, &[0x002f], &[]), TlsFault::ProtocolVersion, "TLS 1.0 at most")]
#[case::ssl_3(hello(0x0300, &[0x0005], &[]), TlsFault::ProtocolVersion, "SSL 3.0 at most")]
#[case::ssl_2(
    ssl2(0x0301, &[[0, 0, 0x2f]]),
    TlsFault::ProtocolVersion,
    "TLS 1.0 at most, in the form of SSL 2.0"
)]
#[case::rsa_only(
    hello(0x0303, &[0x002f, 0x009d], &EXTENSIONS),
    TlsFault::NoCommonCipher,
    "RSA key exchange only (TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_256_GCM_SHA384)"
)]
#[case::cbc_only(
    hello(0x0303, &[0xc013], &EXTENSIONS),
    TlsFault::NoCommonCipher,
    "it offers TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"
)]
#[case::text(b"USER anonymous\r\n".to_vec(), TlsFault::Garbled, "is not TLS")]
fn what_cannot_be_served_names_the_clients_offer(
    #[case] bytes: Vec<u8>,
    #[case] fault: TlsFault,
    #[case] words: &str,
) {
    says(&Failure::with_client(&refused(&bytes), &bytes), fault, &[words]);
}

#[rstest]
#[case(AlertDescription::UnknownCA, "answered unknown_ca: it does not trust")]
#[case(AlertDescription::CertificateUnknown, "install the local CA")]
#[case(AlertDescription::InternalError, "answered internal_error")]
fn a_clients_alert_is_told(#[case] alert: AlertDescription, #[case] words: &str) {
    let failure = Failure::with_client(&Error::AlertReceived(alert), &[]);
    says(&failure, TlsFault::AlertReceived, &[words]);
}

#[test]
fn a_client_of_another_protocol_is_named() {
    let alpn = [0, 16, 0, 11, 0, 9, 8, b'h', b't', b't', b'p', b'/', b'1', b'.', b'1'];
    let bytes = hello(0x0303, &[0xc02b], &alpn);
    let failure = Failure::with_client(&Error::NoApplicationProtocol, &bytes);
    says(&failure, TlsFault::WrongProtocol, &["http/1.1", "ftp"]);
}

#[rstest]
#[case(AlertDescription::ProtocolVersion, TlsFault::ProtocolVersion, "neither TLS 1.2 nor 1.3")]
#[case(AlertDescription::HandshakeFailure, TlsFault::NoCommonCipher, "RSA key exchange only")]
#[case(AlertDescription::NoApplicationProtocol, TlsFault::WrongProtocol, "ftp")]
#[case(AlertDescription::UnrecognisedName, TlsFault::UnrecognizedName, "name")]
#[case(AlertDescription::AccessDenied, TlsFault::AlertReceived, "access_denied")]
#[case(AlertDescription::InternalError, TlsFault::AlertReceived, "internal_error")]
fn a_servers_alert_is_told(
    #[case] alert: AlertDescription,
    #[case] fault: TlsFault,
    #[case] words: &str,
) {
    says(&Failure::with_server(&Error::AlertReceived(alert), &session()), fault, &[words]);
}

#[test]
fn a_server_that_chose_an_old_version_is_named() {
    let error = Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13);
    let mut first = hello(0x0302, &[0x002f], &[]);
    first[5] = 2;
    let failure = Failure::with_server_saying(&error, &session(), &first);
    says(&failure, TlsFault::ProtocolVersion, &["the server chose TLS 1.1"]);
    let failure = Failure::with_server(&error, &session());
    says(&failure, TlsFault::ProtocolVersion, &["a version below TLS 1.2"]);
}

#[test]
fn case_26_text_in_place_of_tls_is_told_and_no_more() {
    let error = Error::InvalidMessage(InvalidMessage::InvalidContentType);
    let text = b"220 a\x1b[31m server\r\n331 more\r\n";
    let failure = Failure::with_server_saying(&error, &session(), text);
    says(&failure, TlsFault::Garbled, &["220 a\\u{1b}[31m server"]);
    assert!(!failure.detail.contains("331"));
    let long = Failure::with_server_saying(&error, &session(), &[b'2'; 100_000]);
    assert!(long.detail.len() < 500);
}

#[test]
fn what_fails_here_is_not_put_on_the_peer() {
    let error = Error::FailedToGetRandomBytes;
    assert_eq!(Failure::with_client(&error, &[]).fault, TlsFault::Internal);
    assert_eq!(Failure::with_server(&error, &session()).fault, TlsFault::Internal);
}
