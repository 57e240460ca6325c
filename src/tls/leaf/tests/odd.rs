//! Certificates that no honest server has: names and strings that are left out or bounded, bytes that
//! are no certificate, and any bytes at all.

use super::*;
use proptest::prelude::*;

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
