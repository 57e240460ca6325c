//! What is read from hellos, old ones and broken ones among them.

use super::*;
use crate::tls::tests::*;
use proptest::prelude::*;
use rustls::ClientConnection;
use rustls::client::ClientSessionMemoryCache;
use std::sync::Arc;

/// A ClientHello without extensions but those given.
pub(in crate::tls) fn hello(version: u16, ciphers: &[u16], extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    let ciphers: Vec<u8> = ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()).collect();
    with_length(&mut body, &ciphers);
    body.extend([1, 0]);
    if !extensions.is_empty() {
        with_length(&mut body, extensions);
    }
    let mut message = vec![CLIENT_HELLO, 0];
    with_length(&mut message, &body);
    let mut record = vec![HANDSHAKE, 3, 1];
    with_length(&mut record, &message);
    record
}

fn with_length(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    to.extend(bytes);
}

/// The hello of SSL 2.0 with which OpenSSL 0.9 greets.
pub(in crate::tls) fn ssl2(version: u16, specs: &[[u8; 3]]) -> Vec<u8> {
    let mut body = vec![CLIENT_HELLO];
    body.extend(version.to_be_bytes());
    body.extend(u16::try_from(specs.len() * 3).unwrap().to_be_bytes());
    body.extend([0, 0, 0, 16]);
    body.extend(specs.concat());
    body.extend([7; 16]);
    let mut hello = (0x8000 | u16::try_from(body.len()).unwrap()).to_be_bytes().to_vec();
    hello.extend(body);
    hello
}

const RSA_AES: u16 = 0x002f;
const ECDHE: u16 = 0xc02f;

#[test]
fn versions_are_named() {
    for (version, words, is_too_old) in [
        (0x0300, "SSL 3.0 at most", true),
        (0x0301, "TLS 1.0 at most", true),
        (0x0302, "TLS 1.1 at most", true),
        (0x0303, "TLS 1.2 at most", false),
        (0x0399, "version 0x0399 at most", false),
    ] {
        let offer = Offer::read(&hello(version, &[RSA_AES], &[])).unwrap();
        assert_eq!((offer.versions().as_str(), offer.is_too_old()), (words, is_too_old));
    }
    // Supported versions: GREASE, 1.3, 1.2.
    let extension = [0, 43, 0, 7, 6, 0x7a, 0x7a, 3, 4, 3, 3];
    let offer = Offer::read(&hello(0x0303, &[ECDHE], &extension)).unwrap();
    assert_eq!(offer.versions(), "TLS 1.3 at most");
}

#[test]
fn the_form_of_ssl_2_is_read() {
    let offer = Offer::read(&ssl2(0x0301, &[[0, 0, 0x2f], [1, 0, 0x80], [0, 0, 5]])).unwrap();
    assert!(offer.is_too_old());
    assert_eq!(offer.versions(), "TLS 1.0 at most, in the form of SSL 2.0");
    assert_eq!(offer.ciphers(), "TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_RC4_128_SHA");
    let offer = Offer::read(&ssl2(0x0002, &[[1, 0, 0x80]])).unwrap();
    assert_eq!(offer.versions(), "SSL 2.0 at most, in the form of SSL 2.0");
    assert_eq!(offer.ciphers(), "none");
}

#[test]
fn the_first_ciphers_are_named_and_the_others_counted() {
    let mut ciphers = vec![0x0a0a, 0x00ff, RSA_AES, 0xdead];
    let read = |ciphers: &[u16]| Offer::read(&hello(0x0303, ciphers, &[])).unwrap();
    assert_eq!(read(&ciphers).ciphers(), "TLS_RSA_WITH_AES_128_CBC_SHA, 0xdead");
    assert!(read(&ciphers).is_rsa_only());
    assert!(!read(&[0xdead]).is_rsa_only(), "nothing is known of it");
    ciphers.push(ECDHE);
    assert!(!read(&ciphers).is_rsa_only());
    ciphers.extend([ECDHE; 1000]);
    let named = read(&ciphers).ciphers();
    assert!(named.ends_with(", 997 more") && named.len() < 300, "{named}");
}

#[test]
fn protocols_are_named_escaped_and_bounded() {
    let mut names = b"\x02h2\x05a\r\n\xffb".to_vec();
    names.extend(b"\x01x".repeat(100));
    let (mut list, mut extension) = (Vec::new(), vec![0, 16]);
    with_length(&mut list, &names);
    with_length(&mut extension, &list);
    let offer = Offer::read(&hello(0x0303, &[ECDHE], &extension)).unwrap();
    assert_eq!(offer.protocols(), "h2, a\\r\\n\u{fffd}b, x, x, x, x");
}

#[test]
fn what_rustls_says_is_read_whole_or_in_several_records() {
    let store = Arc::new(ClientSessionMemoryCache::new(1));
    let config = Arc::new(client(VERSIONS[1], store));
    let mut client = ClientConnection::new(config, name("ftp.example")).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    let whole = Offer::read(&bytes).unwrap();
    assert_eq!(whole.versions(), "TLS 1.3 at most");
    assert!(whole.ciphers().starts_with("TLS13_AES_256_GCM_SHA384"), "{}", whole.ciphers());
    let mut split = Vec::new();
    for piece in bytes[5..].chunks(50) {
        split.extend([HANDSHAKE, 3, 1]);
        with_length(&mut split, piece);
    }
    assert_eq!(Offer::read(&split), Some(whole));
}

#[test]
fn the_version_that_a_server_chose_is_read() {
    let mut hello = hello(0x0301, &[RSA_AES], &[]);
    assert_eq!(chosen_version(&hello), None, "a client's");
    hello[5] = SERVER_HELLO;
    assert_eq!(chosen_version(&hello).as_deref(), Some("TLS 1.0"));
    assert_eq!(chosen_version(&hello[..10]), None);
    assert_eq!(chosen_version(b"220 hello\r\n"), None);
}

#[test]
fn nothing_is_read_from_other_bytes() {
    for bytes in [&b""[..], b"USER anonymous\r\n", b"GET / HTTP/1.1\r\n", &[HANDSHAKE, 3, 1, 0, 0]]
    {
        assert_eq!(Offer::read(bytes), None);
    }
    let whole = hello(0x0303, &[ECDHE], &[]);
    for end in 0..whole.len() {
        assert_eq!(Offer::read(&whole[..end]), None, "{end}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_words_are_bounded(
        at in 0usize..60,
        noise in proptest::collection::vec(any::<u8>(), 0..400),
        is_ssl2 in any::<bool>(),
    ) {
        let extension = [0, 43, 0, 3, 2, 3, 4, 0, 16, 0, 6, 0, 4, 3, b'f', b't', b'p'];
        let mut bytes = match is_ssl2 {
            true => ssl2(0x0301, &[[0, 0, 0x2f]; 9]),
            false => hello(0x0303, &[ECDHE; 9], &extension),
        };
        let at = at.min(bytes.len());
        bytes.splice(at..at, noise);
        if let Some(offer) = Offer::read(&bytes) {
            let words = [offer.versions(), offer.ciphers(), offer.protocols()].concat();
            prop_assert!(words.len() < 2500, "{}", words);
            prop_assert!(!words.contains(char::is_control));
        }
    }
}
