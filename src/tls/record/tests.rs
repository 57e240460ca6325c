use super::{Followed, RecordFollower, Then};
use rstest::rstest;

const CHANGE_CIPHER_SPEC: &[u8] = &[20, 3, 3, 0, 1, 1];
/// An encrypted alert of TLS 1.2 with AES-GCM, as long as those are.
const ALERT: &[u8] = &[21, 3, 3, 0, 4, 9, 9, 9, 9];

fn record(content: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[content, 3, 3, high, low], body].concat()
}

/// A hello that fills its record: client (1) or server (2).
fn hello(kind: u8) -> Vec<u8> {
    record(22, &[&[kind, 0, 0, 122][..], &[7; 122]].concat())
}

fn finished() -> Vec<u8> {
    record(22, &[0xa5; 40])
}

/// A ClientHello in the form of SSL 2.0 whose message is `length` long.
fn v2_hello(length: u16, version: [u8; 2]) -> Vec<u8> {
    let [high, low] = (length | 0x8000).to_be_bytes();
    let rest = vec![0x16; usize::from(length) - 3];
    [&[high, low, 1, version[0], version[1]], &rest[..]].concat()
}

fn followed(bytes: &[u8]) -> (Followed, RecordFollower) {
    let mut follower = RecordFollower::new();
    (follower.follow(bytes), follower)
}

#[test]
fn text_begins_after_the_last_record() {
    let tls = [&hello(1)[..], &record(23, b"CCC"), ALERT].concat();
    let (found, follower) = followed(&[&tls, &b"EPSV\r\n"[..]].concat());
    assert_eq!(found, Followed { tls: tls.len(), then: Then::Text });
    assert!(follower.has_begun() && follower.at_boundary());
    assert_eq!(follower.application_records(), 1);
}

#[test]
fn text_in_the_place_of_the_first_record_is_text() {
    let (found, follower) = followed(b"230 Logged in\r\n");
    assert_eq!(found, Followed { tls: 0, then: Then::Text });
    assert!(!follower.has_begun() && follower.at_boundary());
}

#[test]
fn a_body_is_not_looked_into() {
    let tls = record(23, b"\r\nPORT 1,2,3,4,5,6\r\n");
    let (found, _) = followed(&tls);
    assert_eq!(found, Followed { tls: tls.len(), then: Then::More });
}

#[rstest]
#[case::the_largest(&[23, 3, 3, 0x48, 0x00], 5, Then::More)]
#[case::too_large_by_one(&[23, 3, 3, 0x48, 0x01], 4, Then::Garbled)]
#[case::too_large_by_its_high_octet(&[23, 3, 3, 0x49, 0x00], 3, Then::Garbled)]
#[case::ssl_3_0(&[22, 3, 0, 0, 1], 5, Then::More)]
#[case::version_3_4(&[22, 3, 4, 0, 1], 5, Then::More)]
#[case::version_3_5(&[22, 3, 5, 0, 1], 2, Then::Garbled)]
#[case::version_2(&[22, 2, 0, 0, 1], 1, Then::Garbled)]
#[case::dtls(&[22, 254, 253, 0, 1], 1, Then::Garbled)]
#[case::heartbeat(&[24, 3, 3, 0, 1], 5, Then::More)]
#[case::type_25(&[25, 3, 3, 0, 1], 0, Then::Text)]
#[case::type_19(&[19, 3, 3, 0, 1], 0, Then::Text)]
#[case::empty_alert(&[21, 3, 3, 0, 0], 4, Then::Garbled)]
#[case::empty_application_data(&[23, 3, 1, 0, 0], 5, Then::More)]
#[case::empty_and_text(&[23, 3, 1, 0, 0, b'N'], 5, Then::Text)]
#[case::telnet(&[0xff, 0xf4, 0xff, 0xf2], 0, Then::Text)]
#[case::v2_of_another_type(&[0x80, 0x2e, 4, 3, 1], 2, Then::Garbled)]
#[case::v2_asking_for_ssl_2(&[0x80, 0x2e, 1, 0, 2], 3, Then::Garbled)]
#[case::v2_version_3_5(&[0x80, 0x2e, 1, 3, 5], 4, Then::Garbled)]
#[case::v2_too_short(&[0x80, 8, 1, 3, 1], 1, Then::Garbled)]
#[case::v2_too_long(&[0x90, 1, 1, 3, 1], 1, Then::Garbled)]
#[case::v2_far_too_long(&[0x91, 0, 1, 3, 1], 0, Then::Text)]
fn header(#[case] bytes: &[u8], #[case] tls: usize, #[case] then: Then) {
    let (found, follower) = followed(bytes);
    assert_eq!(found, Followed { tls, then });
    assert_eq!(follower.has_begun(), tls == 5);

    let mut follower = RecordFollower::new();
    let mut sum = 0;
    for byte in bytes {
        sum += follower.follow(&[*byte]).tls;
    }
    assert_eq!((sum, follower.follow(&[]).then), (tls, then), "byte by byte");
}

#[test]
fn an_old_client_hello_comes_first_or_never() {
    for length in [9, 46, 4096] {
        let tls = [&v2_hello(length, [3, 1])[..], &finished()].concat();
        let (found, _) = followed(&[&tls, &b"x"[..]].concat());
        assert_eq!(found, Followed { tls: tls.len(), then: Then::Text }, "{length}");
    }
    let first = hello(1);
    let (found, _) = followed(&[&first[..], &v2_hello(46, [3, 1])].concat());
    assert_eq!(found, Followed { tls: first.len(), then: Then::Text });
}

#[rstest]
#[case::text(b"NOOP\r\n", Then::Text)]
#[case::garbled(&[22, 0], Then::Garbled)]
fn the_end_is_the_end(#[case] bytes: &[u8], #[case] then: Then) {
    let (found, mut follower) = followed(bytes);
    assert_eq!(found.then, then);
    for more in [&hello(1)[..], b"NOOP\r\n", b""] {
        assert_eq!(follower.follow(more), Followed { tls: 0, then });
    }
    assert_eq!(follower.at_boundary(), then == Then::Text);
    assert_eq!(follower.application_records(), 0);
}

#[test]
fn a_boundary_is_between_records_only() {
    let mut follower = RecordFollower::new();
    assert!(follower.at_boundary());
    for (at, byte) in record(23, b"abc").iter().enumerate() {
        assert_eq!(follower.follow(&[*byte]), Followed { tls: 1, then: Then::More });
        assert_eq!(follower.has_begun(), at >= 4);
        assert_eq!(follower.at_boundary(), at == 7);
        assert_eq!(follower.application_records(), u32::from(at == 7));
    }
}

#[test]
fn only_application_data_is_counted() {
    let records =
        [&finished()[..], &record(23, b"a"), ALERT, &record(23, b""), &record(24, b"b")].concat();
    let (found, follower) = followed(&records);
    assert_eq!(found, Followed { tls: records.len(), then: Then::More });
    assert_eq!(follower.application_records(), 2);
}

#[test]
fn the_count_stays_at_the_largest_number() {
    let mut follower = RecordFollower { application_records: u32::MAX, ..RecordFollower::new() };
    assert_eq!(follower.follow(&record(23, b"a")), Followed { tls: 6, then: Then::More });
    assert_eq!(follower.application_records(), u32::MAX);
}

#[rstest]
#[case::tls_1_2(&[&hello(1), CHANGE_CIPHER_SPEC, &finished(), &record(23, b"a")], false)]
#[case::tls_1_2_without_data(&[&hello(1), CHANGE_CIPHER_SPEC, &finished()], false)]
#[case::short_finished(&[CHANGE_CIPHER_SPEC, &record(22, &[1, 0, 0]), &record(23, b"a")], false)]
#[case::tls_1_3(&[&hello(2), CHANGE_CIPHER_SPEC, &record(23, b"a")], true)]
#[case::tls_1_3_without_compatibility(&[&hello(2)[..], &record(23, b"a")], true)]
#[case::second_client_hello(&[&hello(1), CHANGE_CIPHER_SPEC, &hello(1), &record(23, b"a")], true)]
#[case::hello_retry_request(&[&hello(2), CHANGE_CIPHER_SPEC, &hello(2), &record(23, b"a")], true)]
#[case::not_known_yet(&[&hello(2), CHANGE_CIPHER_SPEC], false)]
#[case::renegotiated(&[
    &hello(1), CHANGE_CIPHER_SPEC, &finished(), &record(23, b"a"), CHANGE_CIPHER_SPEC,
    &record(23, b"a"),
], false)]
fn version(#[case] records: &[&[u8]], #[case] is_tls13: bool) {
    let bytes = records.concat();
    let (found, follower) = followed(&bytes);
    assert_eq!(found, Followed { tls: bytes.len(), then: Then::More });
    assert_eq!(follower.is_tls13(), is_tls13);

    let mut follower = RecordFollower::new();
    for byte in &bytes {
        assert_eq!(follower.follow(&[*byte]).then, Then::More);
    }
    assert_eq!(follower.is_tls13(), is_tls13, "byte by byte");
}

/// Each octet of a handshake header tells a hello from what is encrypted.
#[test]
fn what_is_encrypted_is_no_hello() {
    for at in 0..4 {
        let mut first = hello(1);
        first[5 + at] ^= 0x40;
        let bytes = [CHANGE_CIPHER_SPEC, &first, &record(23, b"a")].concat();
        let (_, follower) = followed(&bytes);
        assert!(!follower.is_tls13(), "octet {at}");
    }
}
