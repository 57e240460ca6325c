//! How long a leaf is valid: no longer than the server's certificate, the local CA's and [`LIFE`].

use super::*;

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
