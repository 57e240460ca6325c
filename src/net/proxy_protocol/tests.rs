use super::*;
use proptest::prelude::*;
use rstest::rstest;
use std::net::Ipv6Addr;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn header(source: &str, destination: &str) -> Header {
    Header::Proxied { source: at(source), destination: at(destination) }
}

/// Version 2 with this command, family and body.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, family], &length, body].concat()
}

/// The body of TCP over IPv4 from 192.0.2.2:40000 to 203.0.113.7:21, then more.
fn ipv4(more: &[u8]) -> Vec<u8> {
    [&[192, 0, 2, 2, 203, 0, 113, 7, 0x9c, 0x40, 0, 21], more].concat()
}

fn mapped(ip: [u8; 4]) -> [u8; 16] {
    std::net::Ipv4Addr::from(ip).to_ipv6_mapped().octets()
}

#[rstest]
#[case("PROXY TCP4 192.0.2.2 203.0.113.7 40000 21\r\n", "192.0.2.2:40000", "203.0.113.7:21")]
#[case("PROXY TCP4 1.1.1.1 1.1.1.1 1 65535\r\n", "1.1.1.1:1", "1.1.1.1:65535")]
#[case("PROXY TCP6 2001:db8::2 2001:db8::7 1 21\r\n", "[2001:db8::2]:1", "[2001:db8::7]:21")]
#[case("PROXY TCP6 ::ffff:192.0.2.2 ::ffff:203.0.113.7 1 21\r\n", "192.0.2.2:1", "203.0.113.7:21")]
fn a_line_names_both_ends(#[case] line: &str, #[case] source: &str, #[case] to: &str) {
    assert_eq!(parse(line.as_bytes()), Ok(Some((header(source, to), line.len()))));
    let more = format!("{line}USER a\r\n");
    assert_eq!(parse(more.as_bytes()), Ok(Some((header(source, to), line.len()))));
}

#[rstest]
#[case("PROXY UNKNOWN\r\n")]
#[case("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n")]
#[case("PROXY UNKNOWN 0.0.0.0 x\r\n")]
fn a_line_about_an_unknown_origin_is_the_connections_own(#[case] line: &str) {
    assert_eq!(parse(line.as_bytes()), Ok(Some((Header::Own, line.len()))));
}

#[rstest]
#[case("USER a\r\n", HeaderFault::Absent)]
#[case("proxy TCP4 192.0.2.2 203.0.113.7 40000 21\r\n", HeaderFault::Absent)]
#[case("PROXY\r\n", HeaderFault::Absent)]
#[case("PROXY \r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP5 192.0.2.2 203.0.113.7 40000 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2.2 203.0.113.7 40000\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2.2 203.0.113.7 40000 21 \r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4  192.0.2.2 203.0.113.7 40000 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2.02 203.0.113.7 40000 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2 203.0.113.7 40000 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2.256 203.0.113.7 40000 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 2001:db8::2 2001:db8::7 40000 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP6 192.0.2.2 203.0.113.7 40000 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP6 fe80::1%1 fe80::2 40000 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2.2 203.0.113.7 040000 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2.2 203.0.113.7 +1 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2.2 203.0.113.7 65536 21\r\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2.2 203.0.113.7 40000 21\n", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2.2 203.0.113.7 40000 21\rUSER", HeaderFault::Malformed)]
#[case("PROXY TCP4 192.0.2.2 203.0.113.7 0 21\r\n", HeaderFault::ImpossibleAddress)]
#[case("PROXY TCP4 192.0.2.2 203.0.113.7 40000 0\r\n", HeaderFault::ImpossibleAddress)]
#[case("PROXY TCP4 0.0.0.0 203.0.113.7 40000 21\r\n", HeaderFault::ImpossibleAddress)]
#[case("PROXY TCP4 224.0.0.1 203.0.113.7 40000 21\r\n", HeaderFault::ImpossibleAddress)]
#[case("PROXY TCP4 255.255.255.255 203.0.113.7 40000 21\r\n", HeaderFault::ImpossibleAddress)]
#[case("PROXY TCP6 :: 2001:db8::7 40000 21\r\n", HeaderFault::ImpossibleAddress)]
#[case("PROXY TCP6 ff02::1 2001:db8::7 40000 21\r\n", HeaderFault::ImpossibleAddress)]
#[case("PROXY TCP6 ::ffff:0.0.0.0 ::ffff:203.0.113.7 4 21\r\n", HeaderFault::ImpossibleAddress)]
#[case("PROXY TCP6 ::ffff:192.0.2.2 2001:db8::7 40000 21\r\n", HeaderFault::MixedFamilies)]
fn lines_that_are_not_believed(#[case] line: &str, #[case] fault: HeaderFault) {
    assert_eq!(parse(line.as_bytes()), Err(fault));
}

#[test]
fn a_line_ends_within_107_bytes() {
    let line = |length: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length - 2, b'x');
        [&line[..], b"\r\n"].concat()
    };
    assert_eq!(parse(&line(107)), Ok(Some((Header::Own, 107))));
    assert_eq!(parse(&line(108)), Err(HeaderFault::TooLong));
    assert_eq!(parse(&line(109)), Err(HeaderFault::TooLong));
    assert_eq!(parse(&line(200)[..107]), Err(HeaderFault::TooLong));
    assert_eq!(parse(&line(200)[..106]), Ok(None));
}

#[test]
fn binary_headers_name_both_ends() {
    let expected = header("192.0.2.2:40000", "203.0.113.7:21");
    // 0xea: an application's own TLV; 0x04: padding.
    for more in [&[][..], &[0xea, 0, 2, 1, 2], &[0x04, 0, 0]] {
        let bytes = binary(0x21, 0x11, &ipv4(more));
        assert_eq!(parse(&bytes), Ok(Some((expected, bytes.len()))));
        let longer = [&bytes[..], b"\x16\x03\x01"].concat();
        assert_eq!(parse(&longer), Ok(Some((expected, bytes.len()))));
    }
    let ports = [0x9c, 0x40, 0, 21];
    let body = [&mapped([192, 0, 2, 2])[..], &mapped([203, 0, 113, 7]), &ports].concat();
    let bytes = binary(0x21, 0x21, &body);
    assert_eq!(parse(&bytes), Ok(Some((expected, bytes.len()))));
}

#[rstest]
#[case(0x20, 0x00, &[])]
#[case(0x20, 0x11, &[0; 12])]
#[case(0x20, 0xff, &[1, 2, 3])]
#[case(0x21, 0x00, &[])]
#[case(0x21, 0x00, &[1, 2, 3])]
fn binary_headers_of_the_balancers_own(#[case] command: u8, #[case] kind: u8, #[case] body: &[u8]) {
    let bytes = binary(command, kind, body);
    assert_eq!(parse(&bytes), Ok(Some((Header::Own, bytes.len()))));
}

#[rstest]
#[case(0x11, 0x11, HeaderFault::UnknownVersion)]
#[case(0x31, 0x11, HeaderFault::UnknownVersion)]
#[case(0x22, 0x11, HeaderFault::UnknownVersion)]
#[case(0x21, 0x12, HeaderFault::NotTcp)]
#[case(0x21, 0x22, HeaderFault::NotTcp)]
#[case(0x21, 0x31, HeaderFault::NotTcp)]
#[case(0x21, 0x10, HeaderFault::NotTcp)]
#[case(0x21, 0x41, HeaderFault::NotTcp)]
#[case(0x21, 0x21, HeaderFault::Malformed)]
fn binary_headers_that_are_not_believed(
    #[case] command: u8,
    #[case] family: u8,
    #[case] fault: HeaderFault,
) {
    assert_eq!(parse(&binary(command, family, &ipv4(&[]))), Err(fault));
}

#[test]
fn binary_addresses_have_to_fit_and_to_be_possible() {
    let [source, to] = [[192, 0, 2, 2], [203, 0, 113, 7]];
    let parsed = |body: &[u8]| parse(&binary(0x21, 0x11, body)).unwrap_err();
    assert_eq!(parsed(&ipv4(&[])[..11]), HeaderFault::Malformed);
    for (source, ports) in [([0; 4], [1, 1, 1, 1]), ([224, 0, 0, 1], [1, 1, 1, 1])]
        .into_iter()
        .chain([(source, [0, 0, 1, 1]), (source, [1, 1, 0, 0])])
    {
        let body = [&source[..], &to, &ports].concat();
        assert_eq!(parsed(&body), HeaderFault::ImpossibleAddress, "{source:?} {ports:?}");
    }
    let mixed = [&mapped(source)[..], &Ipv6Addr::LOCALHOST.octets(), &[1; 4]].concat();
    assert_eq!(parse(&binary(0x21, 0x21, &mixed)), Err(HeaderFault::MixedFamilies));
}

#[test]
fn what_follows_the_addresses_is_bounded_and_whole() {
    let parsed = |more: &[u8]| parse(&binary(0x21, 0x11, &ipv4(more)));
    for more in [&[0xea][..], &[0xea, 0], &[0xea, 0, 1], &[0xea, 0, 0, 7]] {
        assert_eq!(parsed(more), Err(HeaderFault::Malformed), "{more:?}");
    }
    // The length alone decides: nothing of that size is waited for.
    let longest = [v2::SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    assert_eq!(parse(&longest), Err(HeaderFault::TooLong));
    let local = [v2::SIGNATURE, &[0x20, 0x00, 0xff, 0xff]].concat();
    assert_eq!(parse(&local), Err(HeaderFault::TooLong));
    let mut whole = ipv4(&[0x04, 0x0f, 0xe1]);
    whole.resize(LONGEST_HEADER - 16, 0);
    assert_eq!(parsed(&whole[12..]).unwrap().unwrap().1, LONGEST_HEADER);
}

#[test]
fn a_checksum_is_verified() {
    // RFC 3720 §B.4: 32 bytes of zeros.
    assert_eq!(v2::crc32c([0; 32].into_iter()), 0x8a91_36aa);
    let zeroed = binary(0x21, 0x11, &ipv4(&[0xea, 0, 1, 9, 0x03, 0, 4, 0, 0, 0, 0]));
    let sum = v2::crc32c(zeroed.iter().copied()).to_be_bytes();
    let summed = |sum: [u8; 4]| {
        let more = [&[0xea, 0, 1, 9, 0x03, 0, 4][..], &sum].concat();
        parse(&binary(0x21, 0x11, &ipv4(&more)))
    };
    assert!(matches!(summed(sum), Ok(Some((Header::Proxied { .. }, 39)))));
    assert_eq!(summed([0; 4]), Err(HeaderFault::WrongChecksum));
    assert_eq!(
        parse(&binary(0x21, 0x11, &ipv4(&[0x03, 0, 1, 0]))),
        Err(HeaderFault::Malformed),
        "a checksum has four bytes"
    );
}

#[test]
fn ends_of_different_families_are_said_in_ipv6() {
    let (source, to) = (at("192.0.2.2:40000"), at("[2001:db8::7]:21"));
    assert_eq!(
        Version::V1.encode(source, to),
        b"PROXY TCP6 ::ffff:192.0.2.2 2001:db8::7 40000 21\r\n"
    );
    let binary = Version::V2.encode(source, to);
    assert_eq!(binary.get(12..16), Some(&[0x21, 0x21, 0, 36][..]));
    assert_eq!(binary.get(16..32), Some(&mapped([192, 0, 2, 2])[..]));
    // Nobody can be told such an address in a 227.
    for version in [Version::V1, Version::V2] {
        assert_eq!(parse(&version.encode(source, to)), Err(HeaderFault::MixedFamilies));
    }
}

fn ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
    let v6 = any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
    (prop_oneof![v4, v6], 1..=u16::MAX, 1..=u16::MAX)
        .prop_map(|((a, b), p, q)| (SocketAddr::new(a, p), SocketAddr::new(b, q)))
        .prop_filter("possible", |(a, b)| !is_impossible(*a) && !is_impossible(*b))
}

proptest! {
    #[test]
    fn what_is_written_is_read_wherever_it_is_cut((source, destination) in ends(), more: Vec<u8>) {
        for version in [Version::V1, Version::V2] {
            let written = version.encode(source, destination);
            for cut in 0..written.len() {
                prop_assert_eq!(parse(&written[..cut]), Ok(None));
            }
            let whole = Header::Proxied {
                source: canonical(source),
                destination: canonical(destination),
            };
            let bytes = [&written[..], &more].concat();
            prop_assert_eq!(parse(&bytes), Ok(Some((whole, written.len()))));
        }
    }
}
